"""Are faults of the data found? Recall and precision of `check_pictures` on planted faults.

Faults are planted in copies of the pictures: files that can't be read, copies (equal, compressed
again, smaller, mirrored, cropped, grey), copies under another label or in X_test, blank, tiny and
long pictures, pictures of another set, wrong labels, and facts about files that give one class
away. Recall is the share of planted faults that are found, and precision the share of what is found
that was planted: a natural copy, or a label that was wrong before, counts against it. Printed are
means over seeds. Thresholds were chosen on the clip-art, with other seeds, so the other two sets
judge them.

Run with ``python -m benchmarks.data_checks``, optionally with names of questions. With ``--cache
FOLDER`` no picture is computed twice.
"""

from collections import defaultdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import ExifTags, Image, ImageOps

from benchmarks._common import (
    add_questions,
    clock,
    parser,
    print_machine,
    print_table,
    write_photos,
)
from benchmarks.heads import whole
from sktransfer import PretrainedFeatureExtractor, check_pictures, load_clipart
from sktransfer.images.decoding import decode_file

PARTS = {"ants_bees": ("train", "val"), "cifar10_subset": ("train", "test")}
SETS = ("clip-art", *PARTS)
FEW = 10  # faults of each kind in a run


def cropped(image):
    """Return the picture without a tenth of its width and height."""
    w, h = image.size
    return image.crop((round(0.03 * w), round(0.07 * h), round(0.93 * w), round(0.97 * h)))


def smaller(image):
    return image.resize((max(1, round(0.6 * image.width)), max(1, round(0.6 * image.height))))


CHANGES = {
    "compressed again": (lambda image: image, ".jpg", {"quality": 60}),
    "0.6 times as large": (smaller, ".png", {}),
    "mirrored": (ImageOps.mirror, ".png", {}),
    "cropped by a tenth": (cropped, ".png", {}),
    "grey": (ImageOps.grayscale, ".png", {}),
}


def pictures(name, options):
    if name == "clip-art":
        return load_clipart(return_X_y=True)
    X, y = whole(options.data / "data" / name, *PARTS[name])
    some = np.random.default_rng(0).permutation(len(y))[: options.pictures]
    return X[some], y[some]


class Planted:
    """Pictures with planted faults, which remembers what was planted where."""

    def __init__(self, X, y, folder, rng):
        self.X, self.y, self.test, self.rng = list(X), list(y), [], rng
        self.folder = Path(folder)
        self.originals = iter(rng.permutation(len(X)).tolist())  # each is used once
        self.faults = defaultdict(list)

    def original(self):
        row = next(self.originals)
        return row, decode_file(self.X[row])

    def path(self, suffix):
        return str(self.folder / f"{self.rng.integers(1 << 60):016x}{suffix}")

    def add(self, fault, path, label, *rows):
        """Add a picture to X; the fault is in it, and in some other rows."""
        self.X.append(path)
        self.y.append(label)
        self.faults[fault].append({*rows, len(self.X) - 1})

    def add_test(self, fault, path, row):
        self.test.append(path)
        self.faults[fault].append({row, f"test {len(self.test) - 1}"})

    def other_label(self, row):
        return self.rng.choice([label for label in np.unique(self.y) if label != self.y[row]])

    def saved(self, image, suffix=".png", **parameters):
        path = self.path(suffix)
        image.save(path, **parameters)
        return path


def plant(X, y, strangers, folder, rng):
    planted = Planted(X, y, folder, rng)
    for i in range(FEW):
        row, image = planted.original()
        whole_file = Path(planted.X[row]).read_bytes()
        broken = Path(planted.path(".jpg"))
        broken.write_bytes((whole_file[: len(whole_file) // 2], b"no picture", b"")[i % 3])
        planted.add("unreadable", str(broken), planted.y[row])
        shade = int(rng.integers(0, 256))
        blank = np.clip(rng.normal(shade, 3, (150, 200)), 0, 255).astype(np.uint8)
        planted.add("blank", planted.saved(Image.fromarray(blank)), planted.y[row])
        planted.add("tiny", planted.saved(image.resize((7, 6))), planted.y[row])
        long = image.resize((5 * image.height + int(rng.integers(60)), image.height))
        planted.add("extreme_aspect", planted.saved(long), planted.y[row])
    for stranger in rng.permutation(strangers)[:5]:
        planted.add("outlier", str(stranger), planted.y[0])
    for fault in ("exact_duplicate", "label_conflict, equal", "leakage, equal", *CHANGES):
        for _ in range(FEW):
            row, image = planted.original()
            if fault in CHANGES:
                change, suffix, parameters = CHANGES[fault]
                copy = planted.saved(change(image), suffix, **parameters)
                planted.add(f"near_duplicate, {fault}", copy, planted.y[row], row)
            elif "leakage" in fault:
                planted.add_test(fault, planted.saved(image), row)
            else:
                label = planted.other_label(row) if "conflict" in fault else planted.y[row]
                planted.add(fault, planted.saved(image), label, row)
    for _ in range(FEW):
        row, image = planted.original()
        copy = planted.saved(image, ".jpg", quality=60)
        planted.add("label_conflict, compressed again", copy, planted.other_label(row), row)
        row, image = planted.original()
        planted.add_test("leakage, mirrored", planted.saved(ImageOps.mirror(image)), row)
    return planted


def judged(planted, check):
    """Return found and planted numbers of each fault, and right and all findings of each kind.

    A finding about one picture does not count if that picture has another planted fault: a picture
    that was drawn out, for example, is unlike all others too.
    """
    recalls, precisions = {}, {}
    found = {kind: [rows_of(each) for each in check.of_kind(kind)] for kind in check.counts}
    for fault, places in planted.faults.items():
        kind = fault.split(",")[0]
        told = found.get(kind, [])
        recalls[fault] = (sum(any(place <= rows for rows in told) for place in places), len(places))
    for kind in dict.fromkeys(fault.split(",")[0] for fault in planted.faults):
        own, others = [], []
        for fault, places in planted.faults.items():
            (own if fault.startswith(kind) else others).extend(places)
        told = [rows for rows in found.get(kind, []) if len(rows) > 1 or rows not in others]
        precisions[kind] = (sum(any(p <= rows for p in own) for rows in told), len(told))
    return recalls, precisions


def rows_of(finding):
    return {*finding.rows, *(f"test {row}" for row in finding.test_rows)}


def faults(options):
    """Files, copies and odd pictures."""
    recalls, precisions = defaultdict(dict), defaultdict(dict)
    for name in SETS:
        X, y = pictures(name, options)
        strangers, _ = pictures(SETS[SETS.index(name) - 1], options)
        for seed in options.seeds:
            with TemporaryDirectory() as folder:
                planted = plant(X, y, strangers, folder, np.random.default_rng(seed))
                parameters = {"features": extractor(), "cache": options.cache}
                check = check_pictures(planted.X, planted.y, X_test=planted.test, **parameters)
            for told, figures in zip((recalls, precisions), judged(planted, check), strict=True):
                for fault, numbers in figures.items():
                    told[fault].setdefault(name, []).append(numbers)
    for title, told in (("recall", recalls), ("precision", precisions)):
        rows = [[fault, *(share(of[name]) for name in SETS)] for fault, of in told.items()]
        print_table([title, *SETS], rows)


def share(numbers):
    """Format a share, and of how many, in all seeds."""
    part, of = map(sum, zip(*numbers, strict=True))
    return f"{part / of:.2f} ({of})" if of else "- (0)"


def labels(options):
    """Wrong labels: of all that are found, how many are wrong, and of all that are wrong, found."""
    rows = []
    for name in SETS:
        X, y = pictures(name, options)
        features = extractor().set_params(cache=options.cache).fit_transform(X)
        for part in (0, 0.05, 0.1):
            figures = []
            for seed in options.seeds:
                rng = np.random.default_rng(seed)
                wrong = y.copy()
                flipped = rng.permutation(len(y))[: round(part * len(y))]
                for row in flipped:
                    wrong[row] = rng.choice([label for label in np.unique(y) if label != y[row]])
                found = check_pictures(X, wrong, features=features).of_kind("label_error")
                some = [each.rows[0] for each in found]
                right = len({*some} & {*flipped.tolist()})
                suggested = np.mean([each.suggestion == y[each.rows[0]] for each in found])
                top = np.mean(np.isin(some[: len(flipped)], flipped)) if part else np.nan
                figures.append([len(flipped), len(some), right / max(len(some), 1), top, suggested])
                figures[-1].append(right / len(flipped) if part else np.nan)
            n, found, precision, top, suggested, recall = np.mean(figures, axis=0)
            rows.append([name, f"{n:.0f}", f"{found:.0f}", precision, recall, top, suggested])
    header = ["wrong", "found", "precision", "recall", "precision of as many as are wrong"]
    print_table(["data", *header, "suggestion is right"], rows)


def shortcuts(options):
    """Facts about files that give away a class: part of its pictures have it, 1 of 20 others."""
    rows = []
    for name in SETS:
        X, y = pictures(name, options)
        some = np.random.default_rng(0).permutation(len(y))[:300]
        X, y = X[some], y[some]
        rows.append([name, "0", *(float(each) for each in told_of(X, y).values())])
        for part in (0.5, 0.9):
            told = []
            for seed in options.seeds:
                rng = np.random.default_rng(seed)
                chance = np.where(y == rng.choice(np.unique(y)), part, 0.05)
                told.append(
                    [facts_found(X, y, fact, chance > rng.random(len(y))) for fact in FACTS]
                )
            rows.append([name, str(part), *np.mean(told, axis=0).tolist()])
    print_table(["found", "part of the class", *FACTS], rows)


FACTS = ("camera", "size", "format", "name")


def told_of(X, y):
    """Return which facts are said to give a class away."""
    found = check_pictures(X, y, features=np.zeros((len(X), 1))).of_kind("shortcut")
    words = [each.message.split(" tells ")[0] for each in found]
    return {fact: any(fact in each for each in words) for fact in FACTS}


def facts_found(X, y, fact, given):
    with TemporaryDirectory() as folder:
        paths = [
            saved_with(fact if has else None, path, Path(folder), i)
            for i, (path, has) in enumerate(zip(X, given, strict=True))
        ]
        return told_of(paths, y)[fact]


def saved_with(fact, path, folder, i):
    """Save a picture again, with a fact about its file or without."""
    image = decode_file(path)
    parameters, suffix, stem = {}, ".jpg", "IMG_"
    if fact == "camera":
        parameters["exif"] = Image.Exif()
        parameters["exif"][ExifTags.Base.Model] = "Camera 2"
    elif fact == "size":
        image = image.resize((96, 96))
    elif fact == "format":
        suffix = ".png"
    elif fact == "name":
        stem = "DSC_"
    target = folder / f"{stem}{i:05}{suffix}"
    image.save(target, **parameters)
    return str(target)


def speed(options):
    """Seconds for many photos; again with all features in the cache."""
    with TemporaryDirectory() as folder:
        X, y = write_photos(options.data, options.rows, Path(folder) / "photos")
        check = partial(check_pictures, X, y, features=extractor(), cache=Path(folder) / "cache")
        rows = [[len(X), clock(check), clock(check)]]
    print_table(["photos", "s", "s with features in the cache"], rows)


def extractor():
    return PretrainedFeatureExtractor("efficientnet_lite0")


QUESTIONS = {f.__name__: f for f in (faults, labels, shortcuts, speed)}


def main():
    options = parser(__doc__, pictures=800)
    add_questions(options, QUESTIONS)
    options.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    options.add_argument("--rows", type=int, default=10_000, help="photos of the question of speed")
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    print_machine()
    with TemporaryDirectory() as folder:
        options.cache = options.cache or folder
        for question in options.questions:
            QUESTIONS[question](options)


if __name__ == "__main__":
    main()

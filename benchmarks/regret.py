"""Regret of the automatic choices, against every configuration of `resize`, depth and views.

Each configuration is fitted on the same stratified splits of each data set. The regret of a choice
is what it loses, in points of accuracy, against the configuration that is best for that set and
backbone in the mean of all splits: a hard opponent, for it is chosen by the test rows themselves.

Run with ``python -m benchmarks.regret``, optionally with names of data sets. All of it takes many
hours. Every fit is one line of the file ``--results``, and a run skips what the file holds: so runs
resume where they stopped, and several with different ``--splits`` or sets may share the file.
With ``--cache FOLDER`` they share the frozen work too. ``--report`` only prints the tables.

A number after "cifar10_subset" or "digits" is that of the training rows. So this asks whether more
rows repay a third stage, with a file of its own, since only splits with all configurations count::

    python -m benchmarks.regret "cifar10_subset 1000" "cifar10_subset 2000" "digits 1000"
        --only "crop " --depths 0 2 3 --image-size 96 --test-rows 1000 --without-views
        --results deeper.jsonl
"""

import hashlib
import json
import time
import warnings
from collections import defaultdict
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedShuffleSplit

from benchmarks._common import judge, mobilenet, parser, print_machine, print_table
from benchmarks.heads import whole
from sktransfer import PretrainedImageClassifier, load_clipart, load_image_folder
from sktransfer.activations import streaming
from sktransfer.images.preprocessing import RESIZES

# The deepest of those that may be asked for, and those that are by default.
DEEPEST, DEPTHS = 4, (0, 1, 2)
VIEWS = (None, 2)
CHOICES = {
    "default": {},
    "crop": {"resize": "crop"},
    "resize=auto": {"resize": "auto"},
    "depth=auto": {"resize": "crop", "unfreeze_depth": "auto"},
    "both=auto": {"resize": "auto", "unfreeze_depth": "auto"},
}
# Columns of the table of accuracies.
COMPARED = ("crop 0", "crop 1", "crop 2", "resize=auto", "depth=auto", "both=auto")
# Each set with the number of its training rows.
SETS = {
    "ants_bees": 244,
    "clip-art": 300,
    "clip-art unbalanced": 300,
    "cifar10_subset 100": 100,
    "cifar10_subset 500": 500,
    "cifar10_subset 3000": 3000,
    "digits": 200,
}


def grid(depths=range(DEEPEST + 1)):
    """Return the parameters of every configuration, by name."""
    configurations = {}
    for resize, depth, n_views in product(RESIZES, depths, VIEWS):
        views = {} if n_views is None else {"augment": "light", "n_views": n_views}
        name = f"{resize} {depth}" + (" light" if views else "")
        configurations[name] = {"resize": resize, "unfreeze_depth": depth, **views}
    return configurations


def pictures(name, options):
    """Return pictures and labels of a data set, and parameters to read them."""
    data, size = options.data / "data", {"image_size": options.image_size}
    if name == "ants_bees":
        return *whole(data / name, "train", "val"), size
    if name.startswith("cifar10_subset"):
        return *whole(data / "cifar10_subset", "train", "test"), size
    if name.startswith("digits"):
        X, y = load_digits(return_X_y=True)
        return X / 16, y, {"image_shape": (8, 8), "image_size": 64}
    if name == "clip-art":  # with the sides that they were drawn with; packaged ones are square
        return *drawings(data / "clipart"), size
    X, y = load_clipart(return_X_y=True)
    # Rare classes count as much as others in the score, and so they must in the loss.
    return X, y, size | {"class_weight": "balanced"}


def drawings(folder):
    """Return paths and labels of drawings, each once: some files are copies of others."""
    paths, y = load_image_folder(folder, return_X_y=True)
    digests = [hashlib.sha256(Path(path).read_bytes()).digest() for path in paths]
    _, first = np.unique(digests, return_index=True)
    first.sort()
    return np.asarray(paths)[first], np.asarray(y)[first]


def split(name, y, seed, test_rows):
    """Return training rows, and at most `test_rows` to test on."""
    n = SETS[name] if name in SETS else int(name.split()[-1])
    parts = StratifiedShuffleSplit(
        1, train_size=n, test_size=min(test_rows, len(y) - n), random_state=seed
    )
    train, test = next(parts.split(y, y))
    if not name.endswith("unbalanced"):
        return train, test
    # From all rows of the first class down to a tenth of the last, in an order drawn anew.
    classes = np.random.default_rng(seed).permutation(np.unique(y))
    shares = np.geomspace(1, 0.1, len(classes))
    of_classes = [train[y[train] == each] for each in classes]
    kept = [
        rows[: max(2, round(share * len(rows)))]
        for rows, share in zip(of_classes, shares, strict=True)
    ]
    return np.sort(np.concatenate(kept)), test


def backbones(options):
    return {"MobileNetV2": mobilenet(options.data), "Lite0": {"backbone": "efficientnet_lite0"}}


def fit_and_score(name, X, y, parts, seed, parameters):
    """Return one line of the results: what the fit scores, costs and chooses."""
    train, test = parts
    n_computed = 0
    read = streaming.read_batches

    def counted(*arguments, **options):
        nonlocal n_computed
        for batch in read(*arguments, **options):
            n_computed += len(batch.rows)
            yield batch

    model = PretrainedImageClassifier(**parameters, random_state=seed)
    with warnings.catch_warnings(), mock.patch.object(streaming, "read_batches", counted):
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X[train], y[train])
        seconds = time.perf_counter() - start
    accuracy = balanced_accuracy_score if name.endswith("unbalanced") else accuracy_score
    return {
        "accuracy": float(accuracy(y[test], model.predict(X[test]))),
        "seconds": seconds,
        "pictures": n_computed / len(train),
        "resize": model.resize_,
        "depth": model.unfreeze_depth_,
    }


def known_lines(path):
    """Return the results in a file by set, backbone, split and configuration."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(each["set"], each["backbone"], each["split"], each["what"]): each for each in lines}


def measure(options, cache):
    """Fit what the file of results lacks, split by split, so that it always can be reported."""
    networks = backbones(options)
    for seed, name, network in product(options.splits, options.sets, options.backbones):
        X, y, reading = pictures(name, options)
        common = {**networks[network], **reading}
        costs = {f"{what}, no cache": given for what, given in CHOICES.items()}
        todo = {**grid(options.depths), **CHOICES} | (costs if options.costs else {})
        parts = split(name, y, seed, options.test_rows)
        for what, parameters in todo.items():
            key = (name, network, seed, what)
            if not _wanted(what, options) or key in known_lines(options.results):
                continue
            store = None if what in costs else cache
            line = fit_and_score(name, X, y, parts, seed, {**common, **parameters, "cache": store})
            names = dict(zip(("set", "backbone", "split", "what"), key, strict=True))
            with options.results.open("a") as file:
                file.write(json.dumps({**names, **line}) + "\n")
            print(*key, f"{line['accuracy']:.3f}", f"{line['seconds']:.1f} s", flush=True)


def _wanted(what, options):
    if options.without_views and what.endswith("light"):
        return False
    return not options.only or any(what.startswith(each) for each in options.only)


def by_cell(lines):
    """Return accuracies (splits,) by configuration, for each set and backbone.

    Only splits that have all of the configurations count, so that differences are paired.
    """
    cells = defaultdict(lambda: defaultdict(dict))
    for (name, network, seed, what), line in lines.items():
        if not what.endswith("no cache"):
            cells[name, network][what][seed] = 100 * line["accuracy"]
    found = {}
    for cell, of in cells.items():
        seeds = sorted(set.intersection(*(set(each) for each in of.values())))
        if seeds:
            found[cell] = {what: np.array([each[s] for s in seeds]) for what, each in of.items()}
    return found


def with_error(differences):
    """Return a mean with its standard error, as text."""
    if len(differences) < 2:
        return f"{np.mean(differences):+.1f}"
    error = np.std(differences, ddof=1) / np.sqrt(len(differences))
    return f"{np.mean(differences):+.1f} ± {error:.1f}"


def best_of(cell, depth=None):
    """Return the configuration that is best in the mean; with `depth`, of those without views."""
    configurations = {
        what: given
        for what, given in grid().items()
        if what in cell
        and (depth is None or (given["unfreeze_depth"] == depth and "augment" not in given))
    }
    return max(configurations, key=lambda what: cell[what].mean())


def report(lines):
    cells = {cell: of for cell, of in by_cell(lines).items() if set(of) & set(grid())}
    for (name, network), cell in cells.items():
        best = best_of(cell)
        print(f"{name}, {network}, {len(cell[best])} splits; the best is {best!r}\n")
        rows = [
            [
                what,
                values.mean(),
                with_error(cell[best] - values),
                *_chosen(lines, name, network, what),
            ]
            for what, values in sorted(cell.items(), key=lambda of: -of[1].mean())
        ]
        print_table(["configuration", "accuracy", "regret", "resize", "depth"], rows)
    _depths(lines)
    # Only those that have all that is compared.
    whole_cells = {at: cell for at, cell in cells.items() if set(COMPARED) <= set(cell)}
    if whole_cells:
        _accuracies(whole_cells)
        _regrets(whole_cells)
    _costs(lines)


def _chosen(lines, name, network, what):
    """How often each `resize` and depth was chosen."""
    of = [line for key, line in lines.items() if (key[0], key[1], key[3]) == (name, network, what)]
    if what not in CHOICES:
        return "", ""
    return [
        ", ".join(
            f"{value} {sum(line[key] == value for line in of)}"
            for value in sorted({line[key] for line in of})
        )
        for key in ("resize", "depth")
    ]


def _accuracies(cells):
    """Print the accuracies of each set and backbone, and their means."""
    rows, values = [], []
    for (name, network), cell in cells.items():
        best = best_of(cell)
        values.append([cell[what].mean() for what in (*COMPARED, best)])
        texts = [f"{value:.1f}" for value in values[-1]]
        rows.append([name, network, len(cell[best]), *texts[:-1], f"{texts[-1]} ({best})"])
    means = [f"{value:.1f}" for value in np.mean(values, axis=0)]
    header = ["data", "backbone", "splits", *COMPARED, "best of the grid"]
    print_table(header, [*rows, ["mean", "", "", *means]])


def _depths(lines):
    """Print the gains of depths over depth 0, on all splits that have all of the depths."""
    names = {key[3] for key in lines}
    wanted = [name for name in (f"crop {depth}" for depth in range(DEEPEST + 1)) if name in names]
    if "crop 0" not in wanted:
        return
    pairs = [(name, "crop 0") for name in wanted[1:]]
    within = {f"crop {depth}" for depth in DEPTHS}
    pairs += [(after, before) for before, after in pairwise(wanted) if after not in within]
    cells = by_cell({key: line for key, line in lines.items() if key[3] in wanted})
    rows = []
    for name in dict.fromkeys(name for name, _ in cells):
        of = [
            cell for (each, _), cell in cells.items() if each == name and set(cell) == set(wanted)
        ]
        if of:
            gains = [np.concatenate([cell[a] - cell[b] for cell in of]) for a, b in pairs]
            rows.append([name, len(gains[0]), *map(with_error, gains)])
    titles = [" - ".join(each.replace("crop", "depth") for each in pair) for pair in pairs]
    print_table(["data", "fits", *titles], rows)


def _regrets(cells):
    """Print the regrets of each set over its backbones and splits, and judge them."""
    columns = {
        "depth 1 - depth 0": lambda cell: cell["crop 1"] - cell["crop 0"],
        "depth 0": lambda cell: cell[best_of(cell)] - cell["crop 0"],
        "depth=auto": lambda cell: cell[best_of(cell)] - cell["depth=auto"],
        "both=auto": lambda cell: cell[best_of(cell)] - cell["both=auto"],
        "resize=auto": lambda cell: cell[best_of(cell, depth=0)] - cell["resize=auto"],
    }
    sets = {
        name: [cell for (each, _), cell in cells.items() if each == name]
        for name in dict.fromkeys(name for name, _ in cells)
    }
    found = {
        title: [np.concatenate([of(cell) for cell in sets[name]]) for name in sets]
        for title, of in columns.items()
    }
    rows = [
        [name, len(values[0]), *map(with_error, values)]
        for name, values in zip(sets, zip(*found.values(), strict=True), strict=True)
    ]
    means = {title: [values.mean() for values in of] for title, of in found.items()}
    rows.append(["mean of the sets", "", *(f"{np.mean(of):+.2f}" for of in means.values())])
    print("Regrets against the best of the grid; of resize=auto, against the best of depth 0.\n")
    print_table(["data", "fits", *columns], rows)
    for what, mean, worst in (("resize=auto", 0.5, 1.5), ("both=auto", 1.0, 2.5)):
        judge(f"{what}: mean regret", np.mean(means[what]), at_most=mean)
        judge(f"{what}: worst regret", max(means[what]), at_most=worst)
    judge("depth 1: mean gain", np.mean(means["depth 1 - depth 0"]), at_least=2)


def _costs(lines):
    costs = [(key, line) for key, line in lines.items() if key[3].endswith("no cache")]
    rows = [
        [name, network, what, line["seconds"], line["pictures"]]
        for (name, network, _, what), line in costs
    ]
    print_table(["set", "backbone", "fit", "seconds", "pictures per row"], rows)


def main():
    arguments = parser(__doc__)
    arguments.add_argument("sets", nargs="*", default=list(SETS), help="names of data sets")
    arguments.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="of the grid")
    arguments.add_argument("--test-rows", type=int, default=500, help="at most so many")
    arguments.add_argument("--results", type=Path, default=Path("regret.jsonl"))
    arguments.add_argument("--splits", type=int, nargs="+", default=list(range(10)))
    arguments.add_argument("--backbones", nargs="+", default=["MobileNetV2", "Lite0"])
    arguments.add_argument("--image-size", type=int, help="sides of pictures, but of digits")
    arguments.add_argument("--cache", type=Path, help="folder of stored activations")
    arguments.add_argument("--only", nargs="+", help="configurations, or how they begin")
    arguments.add_argument("--without-views", action="store_true", help="no augmentation")
    arguments.add_argument("--costs", action="store_true", help="measure fits without a cache too")
    arguments.add_argument("--report", action="store_true", help="fit nothing")
    options = arguments.parse_args()
    print_machine()
    if not options.report:
        with TemporaryDirectory() as folder:
            measure(options, options.cache or folder)
    report(known_lines(options.results))


if __name__ == "__main__":
    main()

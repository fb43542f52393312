"""Adapted BatchNorm statistics: accuracy on clean, corrupted and adapted pictures.

A classifier with the default parameters is fitted to clean training pictures. The test pictures are
corrupted by noise, blur, contrast and JPEG compression, by the formulas and constants of Hendrycks
& Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019: of CIFAR-10-C for cifar10_subset, at 32 pixels, and of ImageNet-C for ants_bees, at 256. An
adapted copy has seen the corrupted test pictures, without their labels, and 200 clean training
pictures as `X_source`; another copy had no `X_source`. Gains are paired by picture, in points of
accuracy with their standard error.

Further tables show where adapting fails: few target pictures, other shares of the classes, several
corruptions at once; and how much the size of batches matters. These take cifar10_subset and
EfficientNet-Lite0.

Run with ``python -m benchmarks.domain_shift``, optionally with names of questions (corruptions,
few, batches, shares, mixed).
"""

from io import BytesIO
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from benchmarks._common import add_questions, mobilenet, parser, print_machine, print_table
from benchmarks.heads import whole
from sktransfer import PretrainedImageClassifier, adapt_batch_norm

# Constants by severity, 1 to 5.
CONSTANTS = {
    "cifar10_subset": {
        "noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "blur": (0.4, 0.6, 0.7, 0.8, 1),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "JPEG": (80, 65, 58, 50, 40),
    },
    "ants_bees": {
        "noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "blur": (1, 2, 3, 4, 6),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "JPEG": (25, 18, 15, 10, 7),
    },
}


def noise(x, scale, rng):
    return x + rng.normal(0, scale, x.shape)


def blur(x, sigma, _):
    return gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def contrast(x, share, _):
    mean = x.mean(axis=(0, 1), keepdims=True)
    return mean + share * (x - mean)


def jpeg(x, quality, _):
    file = BytesIO()
    Image.fromarray(np.uint8(255 * x)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


SOURCE = 200  # training pictures
FURTHER = "cifar10_subset"  # of the further tables
FORMULAS = {"noise": noise, "blur": blur, "contrast": contrast, "JPEG": jpeg}


def corrupted(X, name, constant):
    """Return corrupted copies of uint8 pictures (n, h, w, 3)."""
    rng = np.random.default_rng(0)
    changed = (FORMULAS[name](x / 255, constant, rng) for x in X)
    return np.stack([np.uint8(255 * np.clip(x, 0, 1)) for x in changed])


def square(path, side):
    """Return a picture as a square array: its middle, unless it is one already."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side)))


def pictures(options, name):
    """Return arrays and labels of training and test pictures."""
    parts = ("train", "test") if name == "cifar10_subset" else ("train", "val")
    side = 32 if name == "cifar10_subset" else 256
    found = []
    for part, n in zip(parts, (options.train, options.test), strict=True):
        paths, y = whole(options.data / "data" / name, part)
        kept = np.random.default_rng(0).permutation(len(y))[:n]
        found += [np.stack([square(path, side) for path in paths[kept]]), y[kept]]
    return found


def classifier(options, name, network):
    """Return a classifier that was fitted to clean pictures."""
    X, y, *_ = pictures(options, name)
    networks = {"Lite0": {"backbone": "efficientnet_lite0"}, "MobileNetV2": mobilenet(options.data)}
    return PretrainedImageClassifier(
        **networks[network], image_size=options.image_size, cache=options.cache, random_state=0
    ).fit(X, y)


def adapted(options, name, model, target, **how):
    """Return a copy of a model that is adapted from the training pictures to the target."""
    X, *_ = pictures(options, name)
    return adapt_batch_norm(model, target, X_source=X[:SOURCE], **how)


def right(model, X, y):
    """Return for each picture 100 if it is classified correctly, else 0."""
    return 100.0 * (model.predict(X) == y)


def with_error(gains):
    return f"{gains.mean():+.1f} ± {gains.std(ddof=1) / len(gains) ** 0.5:.1f}"


def corruptions(options):
    """Accuracy clean, corrupted and adapted, for each set, network and corruption."""
    for name in options.sets:
        *_, X, y = pictures(options, name)
        rows, gains = [], []
        for network in options.networks:
            model = classifier(options, name, network)
            clean = right(model, X, y)
            for kind, constants in {"none": None, **CONSTANTS[name]}.items():
                target, before = X, clean
                if constants is not None:
                    target = corrupted(X, kind, constants[options.severity - 1])
                    before = right(model, target, y)
                after = right(adapted(options, name, model, target), target, y)
                without = right(adapt_batch_norm(model, target), target, y)
                means = (f"{each.mean():.1f}" for each in (clean, before, after))
                more = [with_error(after - before), with_error(without - before)]
                rows.append([network, kind, *means, *more])
                if constants is not None:
                    gains.append(after - before)
        title = f"{name}, {len(y)} test pictures, severity {options.severity}"
        header = ["corruption", "clean", "corrupted", "adapted", "gain", "gain without X_source"]
        print_table([title, *header], rows)
        print(f"mean gain over networks and corruptions: {with_error(np.mean(gains, axis=0))}\n")


def halves(options, kind):
    """Return a model, corrupted pictures to adapt to, and others to test on, with their labels."""
    name = FURTHER
    *_, X, y = pictures(options, name)
    model = classifier(options, name, "Lite0")
    target = corrupted(X, kind, CONSTANTS[name][kind][options.severity - 1])
    middle = len(y) // 2
    return model, (target[:middle], y[:middle]), (target[middle:], y[middle:])


def few(options):
    """Gain by the number of target pictures, and by the weight of the source."""
    for kind in options.kinds:
        model, (X, y), test = halves(options, kind)
        before = right(model, *test)
        rows = []
        for n in (4, 16, 64, len(y)):
            draws = [np.random.default_rng(i).permutation(len(y))[:n] for i in range(options.draws)]
            gains = [
                np.mean(
                    [
                        right(adapted(options, FURTHER, model, X[d], n_source=N), *test) - before
                        for d in draws
                    ],
                    axis=0,
                )
                for N in (0, 16)
            ]
            rows.append([n, *map(with_error, gains)])
        title = f"{kind}: {before.mean():.1f} before; target pictures"
        print_table([title, *(f"n_source={N}" for N in (0, 16))], rows)


def batches(options):
    """Gain by the size of batches, and agreement with one batch of all pictures."""
    *_, X, y = pictures(options, FURTHER)
    model = classifier(options, FURTHER, "Lite0")
    for kind in options.kinds:
        target = corrupted(X, kind, CONSTANTS[FURTHER][kind][options.severity - 1])
        before = right(model, target, y)
        sizes = (len(y), 64, 16)
        labels = [
            adapted(options, FURTHER, model, target, batch_size=size).predict(target)
            for size in sizes
        ]
        rows = [
            [
                size,
                with_error(100.0 * (each == y) - before),
                f"{100 * np.mean(each == labels[0]):.1f}",
            ]
            for size, each in zip(sizes, labels, strict=True)
        ]
        print_table([f"{kind}: batch_size", "gain", "same label as in one batch, %"], rows)


def shares(options):
    """Gain where the target has only some of the classes, on pictures of these classes."""
    for kind in options.kinds:
        model, (X, y), (X_test, y_test) = halves(options, kind)
        rows = []
        for n_classes in (1, 2, 5):
            gains = []
            for draw in range(options.draws):
                some = np.random.default_rng(draw).permutation(model.classes_)[:n_classes]
                copied = adapted(options, FURTHER, model, X[np.isin(y, some)])
                test = X_test[np.isin(y_test, some)], y_test[np.isin(y_test, some)]
                gains.append(right(copied, *test) - right(model, *test))
            rows.append([n_classes, with_error(np.concatenate(gains))])
        print_table([f"{kind}: classes in the target", "gain on these classes"], rows)


def mixed(options):
    """Gain of one copy for several corruptions, and of a copy for each."""
    kinds = list(FORMULAS)
    parts = {kind: halves(options, kind) for kind in kinds}
    (model, *_), *_ = parts.values()
    everything = np.concatenate([target for _, (target, _), _ in parts.values()])
    one = adapted(options, FURTHER, model, everything)
    rows = []
    for kind, (_, (target, _), test) in parts.items():
        before = right(model, *test)
        own = adapted(options, FURTHER, model, target)
        rows.append([kind, *(with_error(right(each, *test) - before) for each in (own, one))])
    print_table(["corruption", "a copy for each", "one copy for all"], rows)


QUESTIONS = {f.__name__: f for f in (corruptions, few, batches, shares, mixed)}


def main():
    arguments = parser(__doc__)
    add_questions(arguments, QUESTIONS)
    arguments.add_argument("--sets", nargs="+", choices=CONSTANTS, default=list(CONSTANTS))
    networks = ["Lite0", "MobileNetV2"]
    arguments.add_argument("--networks", nargs="+", choices=networks, default=networks)
    arguments.add_argument("--severity", type=int, choices=range(1, 6), default=3)
    arguments.add_argument("--kinds", nargs="+", choices=FORMULAS, default=["noise", "contrast"])
    arguments.add_argument("--train", type=int, default=1000, help="most training pictures")
    arguments.add_argument("--test", type=int, default=1000, help="most test pictures")
    arguments.add_argument("--image-size", type=int, default=96)
    arguments.add_argument("--draws", type=int, default=3)
    options = arguments.parse_args()
    print_machine()
    with TemporaryDirectory() as options.cache:
        for question in options.questions:
            QUESTIONS[question](options)


if __name__ == "__main__":
    main()

"""Do maps of `explain` lie where the evidence is? Pictures whose class is decided by one patch.

Photos of imagenet_samples get one patch of stripes or of dots at a random place, which alone tells
the two classes apart. A classifier is fitted to some of them, and the maps of others are looked at:
how often the peak lies in the patch, or at most half a position of the network's last map away
from it; which share of the map lies in the patch; and how long a map takes. By chance the first
and the third share would be that of the patch's area.

Then weights are replaced by random ones, the sanity check of Adebayo et al., "Sanity Checks for
Saliency Maps", NeurIPS 2018: the rank correlation of maps before and after should be low.

Run with ``python -m benchmarks.explanations``, optionally with names of questions (patches,
weights).
"""

import copy
import time

import numpy as np
from PIL import Image
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from benchmarks._common import add_questions, mobilenet, parser, print_machine, print_table
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, explain

SIDE, PATCH = 224, 64
# The last maps of these networks have 7 x 7 positions, each for so many pixels.
POSITION = 32
LITE0 = {"backbone": "efficientnet_lite0"}


def with_patches(paths, seed):
    """Return squares with a patch of stripes or dots, labels, and the corners of the patches.

    Each photo gets both kinds of patch, so that nothing else tells the classes apart.
    """
    rng = np.random.default_rng(seed)
    X = np.repeat([square(path) for path in paths], 2, axis=0)
    y = np.arange(len(X)) % 2
    corners = rng.integers(0, SIDE - PATCH + 1, (len(X), 2))
    rows, columns = np.indices((PATCH, PATCH))
    stripes = (rows // 4) % 2
    dots = ((rows % 8 - 4) ** 2 + (columns % 8 - 4) ** 2 < 9).astype(int)
    for picture, (top, left), label in zip(X, corners, y, strict=True):
        dark, light = rng.integers(0, 90, 3), rng.integers(160, 256, 3)
        pattern = (stripes, dots)[label][..., None]
        picture[top : top + PATCH, left : left + PATCH] = np.where(pattern, light, dark)
    return X, np.array(["stripes", "dots"])[y], corners


def square(path):
    """Return the middle of a photo."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)).copy()


def found(maps, corners):
    """Return how many pixels each peak lies outside of its patch, and the share of a map inside."""
    peaks = np.stack(np.unravel_index(maps.reshape(len(maps), -1).argmax(1), maps.shape[1:]), 1)
    outside = np.maximum(corners - peaks, peaks - (corners + PATCH - 1)).max(axis=1).clip(0)
    mass = [
        each[top : top + PATCH, left : left + PATCH].sum() / max(each.sum(), 1e-9)
        for each, (top, left) in zip(maps, corners, strict=True)
    ]
    return outside, np.array(mass)


def models(data):
    """Return estimators by name, and the methods that each allows."""
    lite0 = PretrainedFeatureExtractor(**LITE0)
    some = {"random_state": 0, "resize": "squash"}
    every, without_cam = ("cam", "gradcam", "occlusion"), ("gradcam", "occlusion")
    return {
        "EfficientNet-Lite0": (PretrainedImageClassifier(**LITE0, **some), every),
        "its last level unfrozen": (
            PretrainedImageClassifier(**LITE0, unfreeze_depth=1, **some),
            every,
        ),
        "a hidden layer": (
            PretrainedImageClassifier(**LITE0, hidden_layer_sizes=64, **some),
            without_cam,
        ),
        "LogisticRegression on it": (make_pipeline(lite0, LogisticRegression(C=10)), every),
        "MobileNetV2": (PretrainedImageClassifier(**mobilenet(data), **some), every),
    }


def patches(train, test, data):
    X, y, _ = train
    X_test, y_test, corners = test
    rows = []
    for name, (model, methods) in models(data).items():
        model.fit(X, y)
        accuracy = model.score(X_test, y_test)
        for method in methods:
            explain(model, X_test[:2], y_test[:2], method)  # engines are prepared once
            start = time.perf_counter()
            maps = explain(model, X_test, y_test, method).maps
            seconds = (time.perf_counter() - start) / len(maps)
            outside, mass = found(maps, corners)
            shares = [_share(outside <= pixels) for pixels in (0, POSITION / 2)]
            milliseconds = f"{1000 * seconds:.0f}"
            rows.append(
                [name, f"{accuracy:.3f}", method, *shares, f"{mass.mean():.2f}", milliseconds]
            )
    chance = PATCH**2 / SIDE**2
    print(
        f"\n{len(X)} pictures to fit, {len(X_test)} to look at; the patch is {chance:.3f} of each\n"
    )
    near = f"at most {POSITION // 2} pixels away"
    print_table(
        ["estimator", "accuracy", "method", "peak in the patch", near, "map in it", "ms a picture"],
        rows,
    )


def _share(hits):
    return f"{hits.mean():.3f} ± {np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits)):.3f}"


def similarity(one, other):
    """Return the mean rank correlation of maps."""
    pairs = [(a[::8, ::8].ravel(), b[::8, ::8].ravel()) for a, b in zip(one, other, strict=True)]
    return np.mean([spearmanr(a, b)[0] if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs])


def weights(train, test, _):
    X, y, _ = train
    X_test, y_test = test[0][:12], test[1][:12]
    parameters = {**LITE0, "random_state": 0, "resize": "squash", "unfreeze_depth": 1}
    model = PretrainedImageClassifier(**parameters).fit(X, y)
    shuffled = np.random.default_rng(1).permutation(y)
    other = PretrainedImageClassifier(**parameters).fit(X, shuffled)
    rows = []
    for method in ("cam", "gradcam", "occlusion"):
        before = explain(model, X_test, y_test, method).maps
        cells = [method]
        for part in ("head", "stages"):
            randomised = copy.deepcopy(model)
            for parameter in getattr(randomised.net_.module_, part).parameters():
                scale = parameter.detach().std() if parameter.numel() > 1 else 1.0
                nn.init.normal_(parameter.data, std=float(scale))
            cells.append(
                f"{similarity(before, explain(randomised, X_test, y_test, method).maps):.2f}"
            )
        cells.append(f"{similarity(before, explain(other, X_test, y_test, method).maps):.2f}")
        rows.append(cells)
    print("\nRank correlation with the maps of the fitted classifier, after\n")
    print_table(
        ["method", "a random head", "a random last level", "a fit to shuffled labels"], rows
    )


QUESTIONS = {"patches": patches, "weights": weights}

if __name__ == "__main__":
    arguments = parser(__doc__, pictures=(100, 20))
    add_questions(arguments, QUESTIONS)
    options = arguments.parse_args()
    print_machine()
    photos = sorted((options.data / "data" / "imagenet_samples").glob("*.*"))
    photos = [path for path in photos if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    order = np.random.default_rng(0).permutation(len(photos))
    n_train, n_test = options.pictures
    train = with_patches([photos[i] for i in order[:n_train]], seed=1)
    test = with_patches([photos[i] for i in order[n_train : n_train + n_test]], seed=2)
    for question in options.questions:
        QUESTIONS[question](train, test, options.data)

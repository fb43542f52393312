"""Search how pictures become squares, and how deep to train, in a Pipeline with a cache.

The network sees a square. ``resize="crop"`` keeps the middle of a picture, "squash" shows all of
it with other ratios of its sides, and "pad" shows all of it on the colour of its border. To make
pictures whose subject is not in the middle, the script pastes two drawings of one class side by
side, so the label belongs to both, and the middle of the picture shows a half of each.

The search has six candidates and four splits. Each way to see a picture costs one pass over the
pictures, whatever the number of splits and depths, so the search costs three. The script counts the
files that are decoded, then lets ``resize="auto"`` choose, which finds all that it needs in the
cache. It saves ``which_view.png``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageOps
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline

from sktransfer import PretrainedImageClassifier, SelectionDisplay, load_clipart

OUTPUT = "which_view.png"
RESIZES, DEPTHS = ["crop", "squash", "pad"], [1, 0]
N_SPLITS = 4
SIZE, SIDE = 96, 183  # pixels of the network's square, and of a drawing
COLOURS = {0: "0.45", 1: "#2b6cb0"}


def write_pairs(folder):
    """Write pictures of two drawings of one class; return their paths and labels."""
    drawings, labels = load_clipart(return_X_y=True)
    rng = np.random.default_rng(0)
    paths, classes = [], []
    for name in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == name))
        for pair in zip(rows[::2], rows[1::2], strict=False):  # an odd one is left out
            whole = Image.new("RGB", (2 * SIDE, SIDE), "white")
            for i, row in enumerate(pair):
                with Image.open(drawings[row]) as drawing:
                    whole.paste(ImageOps.pad(drawing, (SIDE, SIDE), color="white"), (i * SIDE, 0))
            paths.append(str(folder / f"{len(paths)}.png"))
            classes.append(name)
            whole.save(paths[-1])
    return np.array(paths), np.array(classes)


def views(path):
    """Return a picture as it is, and roughly as the network sees it in each of the three ways."""
    square = (SIDE, SIDE)
    with Image.open(path) as image:
        whole = image.convert("RGB")
    cropped = ImageOps.fit(whole, square)
    padded = ImageOps.pad(whole, square, color="white")
    return whole, cropped, whole.resize(square), padded


with TemporaryDirectory() as temporary:
    folder = Path(temporary)
    X, y = write_pairs(folder)
    shown = views(X[np.flatnonzero(y == "vehicle")[0]])

    # Five epochs and small pictures keep this example short.
    classifier = PretrainedImageClassifier(
        "efficientnet_lite0", image_size=SIZE, max_epochs=5, cache=folder / "cache", random_state=0
    )
    search = GridSearchCV(
        Pipeline([("classify", classifier)]),
        {"classify__resize": RESIZES, "classify__unfreeze_depth": DEPTHS},
        cv=StratifiedShuffleSplit(N_SPLITS, train_size=96, random_state=0),
        refit=False,
    )
    # Pillow opens a file once for each time that it is decoded.
    with patch.object(Image, "open", wraps=Image.open) as opened:
        search.fit(X, y)
    auto = classifier.set_params(resize="auto").fit(X, y)

results = search.cv_results_
scores = np.array([results[f"split{i}_test_score"] for i in range(N_SPLITS)])
scores = scores.reshape(N_SPLITS, len(RESIZES), len(DEPTHS))
for i, resize in enumerate(RESIZES):
    for j, depth in enumerate(DEPTHS):
        line = f"resize={resize!r:8} unfreeze_depth={depth}: accuracy {scores[:, i, j].mean():.3f}"
        if i:
            # Paired with "crop" at the same depth: each split compares the same pictures.
            gains = 100 * (scores[:, i, j] - scores[:, 0, j])
            error = gains.std(ddof=1) / np.sqrt(N_SPLITS)
            line += f', against "crop" {gains.mean():+.1f} +/- {error:.1f} points'
        print(line)
print(f"Best: {search.best_params_}\n")
print(f"{len(RESIZES) * len(DEPTHS)} candidates, {N_SPLITS} splits, {len(X)} pictures")
print(f"files decoded: {opened.call_count}, or {opened.call_count / len(X):.2f} passes\n")
print(auto)

figure = plt.figure(figsize=(8.4, 6.6), layout="constrained")
top, middle, bottom = figure.subfigures(3, height_ratios=[1.3, 2, 1.7])
panels = top.subplots(1, 4, width_ratios=[2, 1, 1, 1])
for axes, view, title in zip(panels, shown, ["one picture", *RESIZES], strict=True):
    axes.imshow(view)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize="medium")
axes = middle.subplots()
for j, depth in enumerate(DEPTHS):
    places = np.arange(len(RESIZES)) + (0.1 if depth else -0.1)
    axes.scatter(np.tile(places, N_SPLITS), scores[:, :, j], s=14, color="0.8", zorder=1)
    axes.errorbar(
        places,
        scores[:, :, j].mean(axis=0),
        scores[:, :, j].std(axis=0, ddof=1),
        fmt="o",
        markersize=8,
        capsize=4,
        color=COLOURS[depth],
        label=f"unfreeze_depth={depth}",
    )
axes.set_xticks(range(len(RESIZES)), RESIZES)
axes.set(ylabel="accuracy", xlim=(-0.5, len(RESIZES) - 0.5))
axes.set_title(f"The search: {N_SPLITS} splits, mean and standard deviation", fontsize="medium")
axes.legend(*(handles[::-1] for handles in axes.get_legend_handles_labels()), frameon=False)
axes.grid(axis="y", alpha=0.3)
axes.spines[["top", "right"]].set_visible(False)
axes = bottom.subplots()
SelectionDisplay.from_estimator(auto, ax=axes)
axes.set_title('The choice of resize="auto"', fontsize="medium")
figure.savefig(OUTPUT, dpi=110)
print(f"Saved {OUTPUT}.")

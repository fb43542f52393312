"""Choose the depth of fine-tuning by a grid search, and plot the scores of all splits.

``unfreeze_depth`` is an ordinary parameter: 0 trains only a new head, and 1 or 2 also train the
last one or two stages of the backbone. Handwritten digits look unlike the photographs that the
backbone was trained on, so training some of its stages helps, even with 100 digits.

With ``cache``, the search makes one pass over the pictures. Its depths are listed from the largest
to the smallest, because a smaller depth starts from the stored activations of a larger one. The
script prints how many pictures were computed, and saves ``grid_search_depth.png``.
"""

from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit

from sktransfer import PretrainedImageClassifier, cache_info

OUTPUT = "grid_search_depth.png"
DEPTHS = [2, 1, 0]
N_TRAIN, N_TEST, N_SPLITS = 100, 300, 5

# Each row has the 64 pixels of one digit, from 0 to 16. The network sees them at 64 x 64 pixels.
X, y = load_digits(return_X_y=True)
X = X / 16

splits = StratifiedShuffleSplit(N_SPLITS, train_size=N_TRAIN, test_size=N_TEST, random_state=0)
with TemporaryDirectory() as cache:
    classifier = PretrainedImageClassifier(
        "efficientnet_lite0", image_shape=(8, 8), image_size=64, cache=cache, random_state=0
    )
    search = GridSearchCV(classifier, {"unfreeze_depth": DEPTHS}, cv=splits, refit=False)
    search.fit(X, y)
    stored = cache_info(cache)

results = search.cv_results_
scores = np.array([results[f"split{i}_test_score"] for i in range(N_SPLITS)])
gains = scores - scores[:, [DEPTHS.index(0)]]  # paired: each split compares the same digits
for i, depth in enumerate(DEPTHS):
    error = gains[:, i].std(ddof=1) / np.sqrt(N_SPLITS)
    print(
        f"unfreeze_depth={depth}: accuracy {scores[:, i].mean():.3f}, against depth 0 "
        f"{100 * gains[:, i].mean():+.1f} +/- {100 * error:.1f} points, "
        f"fit {results['mean_fit_time'][i]:.1f} s"
    )
print(f"Best: {search.best_params_}\n")

needed = len(DEPTHS) * N_SPLITS * (N_TRAIN + N_TEST)
print(
    f"{len(DEPTHS) * N_SPLITS} fits and their scores needed the activations of {needed} pictures.\n"
    f"But there are {stored.pictures} different pictures, and each was run through the network "
    f"once:\nthe cache holds {stored.rows} activations, one per picture and depth.\n"
)

figure = plt.figure(figsize=(5.6, 4.6), layout="constrained")
digits, axes = figure.subplots(2, height_ratios=[1, 7])
first = [np.flatnonzero(y == digit)[0] for digit in range(10)]
digits.imshow(np.hstack(X[first].reshape(-1, 8, 8)), cmap="gray_r")
digits.set_title(f"{N_TRAIN} training digits, {N_SPLITS} splits", fontsize="medium")
digits.axis("off")
axes.plot(DEPTHS, scores.T, color="0.75", linewidth=1, zorder=1)
axes.plot([], [], color="0.75", linewidth=1, label="single splits")
axes.errorbar(
    *(DEPTHS, scores.mean(axis=0), scores.std(axis=0, ddof=1)),
    marker="o",
    markersize=8,
    capsize=5,
    linewidth=2,
    color="#2b6cb0",
    label="mean and standard deviation",
)
axes.set_xticks(DEPTHS, ["2\n+ last two stages", "1\n+ last stage", "0\nhead only"])
axes.set(xlabel="unfreeze_depth", ylabel=f"accuracy on {N_TEST} other digits", xlim=(-0.4, 2.4))
axes.grid(axis="y", alpha=0.3)
axes.legend(loc="lower right", frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(OUTPUT, dpi=120)
print(f"Saved {OUTPUT}.")

"""Choose the depth of fine-tuning by a grid search, and plot the scores with error bars.

``unfreeze_depth`` is an ordinary parameter: 0 trains only a new head, and 1 or 2 also train the
last one or two stages of the backbone. Frozen stages run once over the pictures of a fold. The
script prints the scores and saves ``grid_search_depth.png``, which shows the mean over the folds,
with their standard deviation as error bars.

Each fold trains on 80 drawings, ten per class. With so few pictures, fine-tuning rarely helps:
the error bars are wider than the differences, so the best choice is 0. Repeat the search with
more pictures of your own.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from sktransfer import PretrainedImageClassifier, load_clipart

OUTPUT = "grid_search_depth.png"

paths, labels = load_clipart(return_X_y=True)
paths, _, labels, _ = train_test_split(
    paths, labels, train_size=120, stratify=labels, random_state=0
)

# 128 pixels instead of 224 take a third of the time.
classifier = PretrainedImageClassifier(
    "efficientnet_lite0", image_size=128, max_epochs=3, random_state=0
)
search = GridSearchCV(
    classifier,
    {"unfreeze_depth": [0, 1, 2]},
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
    refit=False,
)
search.fit(paths, labels)

results = search.cv_results_
depths = [params["unfreeze_depth"] for params in results["params"]]
means, deviations = results["mean_test_score"], results["std_test_score"]
for depth, mean, deviation, seconds in zip(
    depths, means, deviations, results["mean_fit_time"], strict=True
):
    print(f"unfreeze_depth={depth}: accuracy {mean:.3f} +/- {deviation:.3f}, fit {seconds:.1f} s")
print(f"Best: {search.best_params_}")

figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
axes.errorbar(depths, means, yerr=deviations, marker="o", capsize=4, color="#2b6cb0")
axes.set_xticks(depths)
axes.set(xlabel="unfreeze_depth", ylabel="accuracy over 3 folds")
axes.set_title(f"{len(paths)} drawings of 8 classes", fontsize="medium")
axes.grid(axis="y", alpha=0.3)
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(OUTPUT, dpi=120)
print(f"Saved {OUTPUT}.")

"""How deep should fine-tuning go? A grid search answers, and a plot shows how surely.

``unfreeze_depth`` is a parameter like any other: 0 trains a new head, 1 and 2 train the
last one or two stages of the backbone with it. What stays frozen runs once over the
pictures of a fold. Prints the scores and saves ``grid_search_depth.png``: the mean over the
folds, with the standard deviation between them as error bars.

Each fold trains on 80 drawings, ten a class. With so few, depth seldom pays, and the bars are
wider than the differences: the honest answer is 0. Ask again with more pictures.
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

# Drawings of 128 pixels instead of 224 take a third of the time.
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

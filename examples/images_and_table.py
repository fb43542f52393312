"""Combine pictures and tabular data in one model with a ColumnTransformer.

The task is to name the kind of thing on offer (house, mammal, fruit, ...) from its drawing, its
price and its weight. The drawings are real. The table is synthetic: each kind has a usual price
and weight, and those of one offer are drawn around them, with a standard deviation of a factor of
6. So the table knows something that a drawing does not show, and the drawing something that the
table does not say.

The backbone turns the column of paths into features, splines of the logarithms describe the other
columns, and a logistic regression is fitted on both. The script compares the drawings alone, the
table alone, and both, on the same ten splits. It saves ``images_and_table.png``, with drawings
that the model names correctly only with the help of the table.
"""

from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler

from sktransfer import PretrainedFeatureExtractor, load_clipart

OUTPUT = "images_and_table.png"
USUAL = {  # price in dollars, weight in kg
    "bird": (40, 0.1),
    "bug": (4, 0.01),
    "flower": (9, 0.2),
    "fruit": (2, 0.5),
    "house": (250_000, 90_000),
    "mammal": (500, 60),
    "music": (600, 4),
    "vehicle": (12_000, 900),
}
N_SPLITS, N_SHOWN = 10, 5

paths, labels = load_clipart(return_X_y=True)
factors = 6.0 ** np.random.default_rng(0).normal(size=(len(labels), 2))
frame = pd.DataFrame(
    factors * np.array([USUAL[label] for label in labels]), columns=["price", "weight"]
)
frame.insert(0, "path", paths)
print(frame.groupby(labels)[["price", "weight"]].median().map("{:,.2f}".format), end="\n\n")


def model(*columns):
    """Return a pipeline of transformed columns and a logistic regression."""
    return make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1000))


splits = StratifiedShuffleSplit(N_SPLITS, train_size=240, test_size=120, random_state=0)
with TemporaryDirectory() as cache:
    pictures = ("pictures", PretrainedFeatureExtractor("efficientnet_lite0", cache=cache), "path")
    logarithms = make_pipeline(FunctionTransformer(np.log10), SplineTransformer(4))
    table = ("table", make_pipeline(logarithms, StandardScaler()), ["price", "weight"])
    models = {
        "guessing": DummyClassifier(),
        "table": model(table),
        "pictures": model(pictures),
        "both": model(pictures, table),
    }
    fits = {
        name: cross_validate(each, frame, labels, cv=splits, return_estimator=True)
        for name, each in models.items()
    }
    _, test = next(splits.split(frame, labels))
    predicted = {name: fits[name]["estimator"][0].predict(frame.iloc[test]) for name in models}

scores = {name: fit["test_score"] for name, fit in fits.items()}
for name, values in scores.items():
    gains = 100 * (scores["both"] - values)  # paired: the same rows in each split
    error = gains.std(ddof=1) / np.sqrt(N_SPLITS)
    more = "" if name == "both" else f"; both gain {gains.mean():.1f} +/- {error:.1f} points"
    print(f"{name:9} accuracy {values.mean():.3f} +/- {values.std(ddof=1):.3f}{more}")

right = {name: labels[test] == predicted[name] for name in ("pictures", "both")}
helped = np.flatnonzero(right["both"] & ~right["pictures"])
harmed = np.flatnonzero(right["pictures"] & ~right["both"])
print(f"In the first split, the table corrects {len(helped)} of {len(test)} drawings.")
print(f"It spoils {len(harmed)}.")

figure = plt.figure(figsize=(8, 5.2), layout="constrained")
above, below = figure.subfigures(2, height_ratios=[3, 2])
axes = above.subplots()
for i, (name, values) in enumerate(scores.items()):
    colour = "#2b6cb0" if name == "both" else "0.45"
    axes.scatter(values, np.full(N_SPLITS, i), s=14, color="0.8", zorder=1)
    axes.errorbar(
        values.mean(), i, xerr=values.std(ddof=1), fmt="o", markersize=8, capsize=4, color=colour
    )
axes.set_yticks(range(len(scores)), scores)
axes.set_xlabel(f"accuracy on 120 drawings: {N_SPLITS} splits, mean and standard deviation")
axes.grid(axis="x", alpha=0.3)
axes.spines[["top", "right", "left"]].set_visible(False)
axes.tick_params(axis="y", length=0)

figure.get_layout_engine().set(h_pad=0.1)
below.suptitle("Named by the drawing alone → with the table, where that helps", fontsize="medium")
for axes, i in zip(below.subplots(1, N_SHOWN), helped[:N_SHOWN], strict=True):
    row = frame.iloc[test[i]]
    axes.imshow(Image.open(row["path"]))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    price, weight = (float(f"{value:.2g}") for value in (row["price"], row["weight"]))
    axes.set_title(f"${price:,.9g}, {weight:,.9g} kg", fontsize="small")
    names = f"{predicted['pictures'][i]} → {predicted['both'][i]}"
    axes.set_xlabel(names, fontsize="small")
figure.savefig(OUTPUT, dpi=110)
print(f"Saved {OUTPUT}.")

"""Choose which pictures to label first, with scikit-activeml on features of sktransfer.

The features of a frozen network need no labels, so they are computed once, for all pictures. Then
labels are asked for in steps of eight. The first sixteen pictures are chosen by TypiClust: it
clusters the features and takes the most typical picture of each cluster. The next ones are chosen
by the margin: those for which the model's two most likely classes are closest. Here the labels are
known already; in practice a person gives them, where the script reads ``labels``.

The table compares the accuracy on other drawings with that of random choice, as a mean over five
seeds. The script saves ``label_first.png``: the curves, and the first eight drawings to label.

It needs scikit-activeml: ``pip install scikit-activeml``.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import RandomSampling, TypiClust, UncertaintySampling
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, Normalizer, StandardScaler

from sktransfer import PretrainedFeatureExtractor, load_clipart

OUTPUT = "label_first.png"
STEP, BY_TYPE, N_LABELS, N_SEEDS = 8, 16, 64, 5

paths, names = load_clipart(return_X_y=True)
labels = LabelEncoder().fit_transform(names)
extractor = PretrainedFeatureExtractor("efficientnet_lite0", image_size=128)
features = extractor.fit_transform(paths)
# Distances between features mean more when these are centred and of length 1.
units = make_pipeline(StandardScaler(with_std=False), Normalizer()).fit_transform(features)


def margin(seed):
    """Return a function that chooses pictures by the margin of a model on the known labels."""
    strategy = UncertaintySampling(method="margin_sampling", random_state=seed)
    model = SklearnClassifier(
        LogisticRegression(max_iter=1000), classes=np.unique(labels), random_state=seed
    )
    return lambda pool, known: strategy.query(features[pool], known, clf=model, batch_size=STEP)


def on_units(strategy):
    """Return a function that chooses pictures by their features alone."""
    return lambda pool, known: strategy.query(units[pool], known, batch_size=STEP)


def curve(seed, first, then):
    """Return accuracies by the number of labels, and the rows in the order of labelling."""
    pool, test = train_test_split(
        np.arange(len(labels)), test_size=0.4, stratify=labels, random_state=seed
    )
    known, order, scores = np.full(len(pool), np.nan), [], []
    while len(order) < N_LABELS:
        rows = (first if len(order) < BY_TYPE else then)(pool, known)
        known[rows] = labels[pool[rows]]  # here a person would look at the pictures
        order.extend(pool[rows])
        model = LogisticRegression(max_iter=1000).fit(features[order], labels[order])
        scores.append(model.score(features[test], labels[test]))
    return scores, order


chosen, at_random = [], []
for seed in range(N_SEEDS):
    chosen.append(curve(seed, on_units(TypiClust(random_state=seed)), margin(seed)))
    by_chance = on_units(RandomSampling(random_state=seed))
    at_random.append(curve(seed, by_chance, by_chance))
first_rows = chosen[0][1][:STEP]
chosen, at_random = (100 * np.array([scores for scores, _ in each]) for each in (chosen, at_random))

sizes = np.arange(STEP, N_LABELS + 1, STEP)
print(f"{len(paths)} drawings of {len(np.unique(labels))} classes, {N_SEEDS} seeds\n")
print("labels   chosen   at random   gain")
for n, one, other in zip(sizes, chosen.T, at_random.T, strict=True):
    gain = one - other
    error = gain.std(ddof=1) / np.sqrt(N_SEEDS)
    print(f"{n:6}{one.mean():9.1f}{other.mean():12.1f}   {gain.mean():+.1f} +/- {error:.1f}")

figure = plt.figure(figsize=(8, 5), layout="constrained")
top, bottom = figure.subfigures(2, height_ratios=[3, 1.2])
axes = top.subplots()
for scores, title, colour in (
    (chosen, "TypiClust, then margin", "#2b6cb0"),
    (at_random, "at random", "0.5"),
):
    axes.errorbar(
        sizes,
        scores.mean(axis=0),
        scores.std(axis=0, ddof=1) / np.sqrt(N_SEEDS),
        marker="o",
        capsize=3,
        color=colour,
        label=title,
    )
axes.set(xlabel="labelled drawings", ylabel="accuracy in %", xticks=sizes)
axes.legend(frameon=False)
axes.grid(axis="y", alpha=0.3)
axes.spines[["top", "right"]].set_visible(False)
for panel, row in zip(bottom.subplots(1, STEP), first_rows, strict=True):
    with Image.open(paths[row]) as drawing:
        panel.imshow(drawing.convert("RGB"))
    panel.set(xticks=[], yticks=[])
    panel.set_title(names[row], fontsize="small")
bottom.suptitle("The first drawings to label, and their labels", fontsize="medium")
figure.savefig(OUTPUT, dpi=110)
print(f"\nSaved {OUTPUT}.")

"""Rare classes: no weights, ``class_weight="balanced"``, and a ``sample_weight`` of one's own.

Two classes keep 60 drawings for training and two only 12. Without weights the rare ones are
overlooked more often than need be; with "balanced" every class counts the same in total. The
sample weights here are the square root of that, half-way between the two. What is best
depends on what a mistake costs: compare the recalls, not the accuracy.
"""

import numpy as np
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score
from sklearn.utils.class_weight import compute_sample_weight

from sktransfer import PretrainedImageClassifier, load_clipart

N_TRAIN = {"fruit": 60, "mammal": 60, "bird": 12, "bug": 12}
N_TEST = 28  # of each class

paths, labels = load_clipart(return_X_y=True)
rng = np.random.default_rng(0)
train, test = [], []
for name, n in N_TRAIN.items():
    rows = rng.permutation(np.flatnonzero(labels == name))
    train.extend(rows[:n])
    test.extend(rows[n : n + N_TEST])
print(f"Training drawings: {N_TRAIN}; test drawings: {N_TEST} each\n")

halfway = np.sqrt(compute_sample_weight("balanced", labels[train]))
candidates = {
    "no weights": ({"class_weight": None}, None),
    "balanced": ({"class_weight": "balanced"}, None),
    "sample_weight": ({"class_weight": None}, halfway),
}
print(f"{'recall of':14}" + "".join(f"{name:>8}" for name in N_TRAIN) + "  balanced acc.  macro F1")
for name, (params, weights) in candidates.items():
    classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0, **params)
    classifier.fit(paths[train], labels[train], sample_weight=weights)
    predicted, truth = classifier.predict(paths[test]), labels[test]
    recalls = recall_score(truth, predicted, labels=list(N_TRAIN), average=None)
    balanced = balanced_accuracy_score(truth, predicted)
    f1 = f1_score(truth, predicted, average="macro")
    print(f"{name:14}" + "".join(f"{r:8.2f}" for r in recalls) + f"{balanced:15.3f}{f1:10.3f}")

"""A classifier that a test can tell what to predict, and the material of reports on it."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from sktransfer.inspection.reporting.material import material

SIDE = 8


class Told(ClassifierMixin, BaseEstimator):
    """It "predicts" the probabilities that are written into the first pixels of a picture."""

    def __init__(self, classes=("ant", "bee", "cat"), has_probabilities=True):
        self.classes = classes
        self.has_probabilities = has_probabilities

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def __getattr__(self, name):
        # Not a method: a classifier without probabilities must not have it.
        if name == "predict_proba" and vars(self).get("has_probabilities"):
            return self._probabilities
        raise AttributeError(name)

    def _probabilities(self, X):
        written = np.asarray(X)[:, 0, : len(self.classes_), 0].astype(float)
        return written / written.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self._probabilities(X).argmax(axis=1)]


def pictures_of(probabilities):
    """Pictures (n, SIDE, SIDE, 3) that hold probabilities, in percent."""
    probabilities = np.asarray(probabilities)
    X = np.full((len(probabilities), SIDE, SIDE, 3), 128, np.uint8)
    X[:, 0, : probabilities.shape[1], 0] = np.round(100 * probabilities)
    return X


def material_of(model, X, y, **options):
    """Material of a report on a fitted classifier, by default without anything else."""
    defaults = dict.fromkeys(("X_train", "y_train", "groups", "cache"))
    defaults |= {"learning_curve": False, "card": {}, "seed": 0}
    return material(model, X, y, **{**defaults, **options})


def told(probabilities, y, *, has_probabilities=True, classes=("ant", "bee", "cat"), **options):
    """Material of a report on predictions with given probabilities."""
    model = Told(classes, has_probabilities).fit(None, np.array(classes))
    return material_of(model, pictures_of(probabilities), np.asarray(y), **options)


# Of twelve pictures, three are wrong: rows 3, 7 and 11.
SURE = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]] * 4)
TRUE = np.array(
    ["ant", "bee", "cat", "bee", "bee", "cat", "ant", "cat", "cat", "ant", "bee", "bee"]
)
EXPECTED = np.array(["ant", "bee", "cat"] * 4)


def usual(**options):
    """Material of a report on twelve pictures of three classes, with three mistakes."""
    return told(SURE, TRUE, **options)

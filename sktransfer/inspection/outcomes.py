"""What is true of each picture, what was predicted, and how wrong that was."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from sktransfer.estimators.labels import is_indicator
from sktransfer.exceptions import ParameterError
from sktransfer.inspection.subject import Subject


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Truth and prediction of n pictures.

    Parameters
    ----------
    classes : ndarray of shape (k,)
    truth, predicted : ndarray of shape (n,) or (n, k), int
        Positions in `classes`, or indicators of several labels.
    probabilities : ndarray of shape (n, k), or None
    """

    classes: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def multilabel(self) -> bool:
        """True if a picture may have several labels."""
        return self.truth.ndim > 1

    @cached_property
    def wrong(self) -> np.ndarray:
        """Which pictures (n,) were predicted wrongly: with several labels, in any of them."""
        differs = self.truth != self.predicted
        return differs.any(axis=1) if self.multilabel else differs

    @cached_property
    def losses(self) -> np.ndarray:
        """Negative log-likelihood (n,) of the truth, the mean over several labels."""
        chosen = self._probability_of(self.truth)
        losses = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
        return losses.mean(axis=1) if self.multilabel else losses

    @cached_property
    def confidence(self) -> np.ndarray:
        """Probability (n,) of what was predicted; of several labels, of the wrong one, if any."""
        chosen = self._probability_of(self.predicted)
        if not self.multilabel:
            return chosen
        wrong = np.where(self.truth != self.predicted, chosen, 0).max(axis=1)
        return np.where(self.wrong, wrong, chosen.min(axis=1))

    @cached_property
    def margins(self) -> np.ndarray:
        """How far (n,) the two most likely answers are apart, in probability."""
        assert self.probabilities is not None
        if self.multilabel:
            return abs(2 * self.probabilities - 1).min(axis=1)
        if len(self.classes) == 1:
            return np.ones(len(self))
        two = np.partition(self.probabilities, -2, axis=1)[:, -2:]
        return two[:, 1] - two[:, 0]

    @cached_property
    def explained(self) -> np.ndarray:
        """Position (n,) in `classes` of the label that is worth a look.

        The predicted one; of several labels, the wrong one that was predicted, or left out, with
        most confidence. Where all labels are right, the most likely one.
        """
        if not self.multilabel:
            return self.predicted
        wrong = self.truth != self.predicted
        if self.probabilities is None:
            return np.where(self.wrong, wrong.argmax(axis=1), self.predicted.argmax(axis=1))
        worst = np.where(wrong, self._probability_of(self.predicted), -1).argmax(axis=1)
        return np.where(self.wrong, worst, self.probabilities.argmax(axis=1))

    def probability_of_truth(self, row: int) -> float:
        """The probability of the true label, or of all labels to be right."""
        return float(np.prod(self._probability_of(self.truth)[row]))

    def probability_of_prediction(self, row: int) -> float:
        """The probability of the predicted label, or of all labels as they were predicted."""
        return float(np.prod(self._probability_of(self.predicted)[row]))

    def names(self, codes: np.ndarray) -> str:
        """One label or several, in words."""
        if not self.multilabel:
            return str(self.classes[codes])
        return ", ".join(str(label) for label in self.classes[codes > 0]) or "none"

    def _probability_of(self, codes: np.ndarray) -> np.ndarray:
        assert self.probabilities is not None
        if self.multilabel:
            return np.where(codes > 0, self.probabilities, 1 - self.probabilities)
        return np.take_along_axis(self.probabilities, codes[:, None], 1)[:, 0]


def outcomes_of(subject: Subject, X: Any, y: Any) -> Outcomes:
    """Predict, and compare with the labels.

    Raises
    ------
    ValueError
        If y is of another length than X, or holds labels that the classifier does not know.
    """
    check_consistent_length(subject.pictures(X).items, y)
    predictions, probabilities = subject.outcome(X)
    return outcomes(y, predictions, probabilities, subject.classes)


def outcomes(y_true: Any, y_pred: Any, probabilities: Any = None, classes: Any = None) -> Outcomes:
    """Compare predictions with labels.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,), or indicators of shape (n, k)
    probabilities : array-like of shape (n, k), or (n,) for the second of two classes, optional
    classes : array-like of shape (k,), optional
        The labels, in the order of the columns of `probabilities`. By default those in `y_true`
        and `y_pred`, sorted; column numbers for indicators.

    Raises
    ------
    ValueError
        If lengths or columns differ, or a label is not one of `classes`.
    """
    check_consistent_length(y_true, y_pred)
    several = is_indicator(y_true)
    if several != is_indicator(y_pred):
        raise ParameterError(
            "Labels and predictions must both be one label for each picture, or both be "
            f"indicators; got shapes {np.shape(y_true)} and {np.shape(y_pred)}."
        )
    truth, predicted = (_dense(each) for each in (y_true, y_pred))
    if classes is None:
        both = np.concatenate([truth, predicted])
        classes = np.arange(both.shape[1]) if several else np.unique(both)
    classes = np.asarray(classes)
    if several:
        truth, predicted = (_indicator(each, len(classes)) for each in (truth, predicted))
    else:
        truth, predicted = (_codes(each, classes) for each in (truth, predicted))
    if probabilities is not None:
        probabilities = _columns(np.asarray(probabilities, dtype=float), len(truth), len(classes))
    return Outcomes(classes, truth, predicted, probabilities)


def _dense(labels: Any) -> np.ndarray:
    """An array (n,) of labels, or an indicator (n, k) of several."""
    labels = labels.toarray() if hasattr(labels, "toarray") else np.asarray(labels)
    return labels if is_indicator(labels) else np.asarray(column_or_1d(labels))


def _codes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    codes = {label: code for code, label in enumerate(classes.tolist())}
    unknown = sorted({label for label in labels.tolist() if label not in codes}, key=repr)
    if unknown:
        raise ParameterError(
            f"y holds {unknown[:10]}, which are not among the classes {list(codes)[:20]}. Leave "
            "these rows out, or give a classifier that knows them."
        )
    return np.array([codes[label] for label in labels.tolist()], dtype=int)


def _indicator(several: np.ndarray, n_classes: int) -> np.ndarray:
    if several.shape[1] != n_classes:
        raise ParameterError(
            f"An indicator has {several.shape[1]} columns, but there are {n_classes} labels."
        )
    return (several > 0).astype(int)


def _columns(probabilities: np.ndarray, n_rows: int, n_classes: int) -> np.ndarray:
    if probabilities.ndim == 1 and n_classes == 2:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    if probabilities.shape != (n_rows, n_classes):
        raise ParameterError(
            f"Probabilities of {n_rows} pictures and {n_classes} classes have shape "
            f"({n_rows}, {n_classes}); got {probabilities.shape}. Name all classes by classes=, in "
            "the order of the columns."
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1 + 1e-6)):
        raise ParameterError("Probabilities lie between 0 and 1, and some of these do not.")
    return probabilities

"""The labels in y become numbers for training."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from sktransfer._common.tensors import numpy_of
from sktransfer.exceptions import ParameterError


@dataclass(frozen=True)
class Labels:
    """y, checked and encoded.

    Parameters
    ----------
    classes : ndarray of shape (k,)
        The labels, or the column numbers of an indicator.
    y : ndarray of shape (n,) int64, or (n, k) float32
        Positions in `classes`, or an indicator of several labels.
    """

    classes: np.ndarray
    y: np.ndarray

    @property
    def multilabel(self) -> bool:
        """True if a picture may have several labels."""
        return self.y.ndim > 1

    def not_taught_by(self, rows: np.ndarray) -> np.ndarray:
        """Positions of the classes that can't be learned from some rows.

        A class is absent from all of them; or, with several labels, present in all of them.
        """
        if not self.multilabel:
            return np.setdiff1d(np.arange(len(self.classes)), self.y[rows])
        present = self.y[rows] > 0
        return np.flatnonzero(present.all(axis=0) | ~present.any(axis=0))

    def taken(self, rows: np.ndarray) -> Labels:
        """Labels of some of the rows, with all classes."""
        return Labels(self.classes, self.y[rows])

    @classmethod
    def learned(cls, y: Any, n_rows: int, who: str) -> Labels:
        """Encode the labels of a fit, and take the classes from them.

        Raises
        ------
        ValueError
            If y is missing, of the wrong length, no labels, or of one class only.
        """
        if y is None:
            raise ValueError(f"{who} requires y to be passed, but the target y is None.")
        if is_indicator(y):
            return _indicator(y, n_rows)
        labels = _labels(y, n_rows)
        # Raises for a number with a fraction: a regression target would give one class per row.
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        _check_several(classes)
        return cls(classes, codes.astype(np.int64))

    @classmethod
    def known(cls, y: Any, n_rows: int, classes: np.ndarray, *, multilabel: bool) -> Labels:
        """Encode labels whose classes are known.

        Raises
        ------
        ValueError
            If y is malformed or holds other classes.
        """
        if multilabel:
            several = _indicator(y, n_rows)
            if several.y.shape[1] != len(classes):
                raise ValueError(
                    f"y has {several.y.shape[1]} columns, but the classifier knows {len(classes)} "
                    "labels."
                )
            return several
        _check_several(classes)
        labels = _labels(y, n_rows).tolist()
        # By a dict: NumPy's search can't compare labels of all kinds, and turns 1 into "1".
        codes = {label: code for code, label in enumerate(classes.tolist())}
        unknown = {label for label in labels if label not in codes}
        if unknown:
            raise ValueError(
                f"y holds {sorted(unknown, key=repr)}, which are not among the classes seen "
                f"first: {classes.tolist()}. Leave these rows out, name all classes in the first "
                "call of partial_fit, or fit anew."
            )
        return cls(classes, np.array([codes[label] for label in labels], np.int64))


def encoded(
    y: Any,
    n_rows: int,
    who: str,
    *,
    known: tuple[np.ndarray, bool] | None = None,
    classes: Any = None,
) -> Labels:
    """Encode y, with classes from y, from the earlier fit, or from the caller.

    Parameters
    ----------
    y : array-like
    n_rows : int
        Number of pictures.
    who : str
        Name of the estimator, for errors.
    known : (ndarray, bool), optional
        Classes of the fit that this one continues, and whether pictures have several labels.
    classes : array-like, optional
        As `partial_fit` gets them.

    Raises
    ------
    ValueError
        If y is malformed, or the classes contradict each other.
    """
    y, classes = numpy_of(y), numpy_of(classes)
    _check_no_lists(y)
    if known is not None:
        labels = Labels.known(y, n_rows, known[0], multilabel=known[1])
    elif classes is None or is_indicator(y):
        labels = Labels.learned(y, n_rows, who)
    else:
        labels = Labels.known(y, n_rows, np.unique(classes), multilabel=False)
    if classes is not None and not np.array_equal(np.unique(classes), labels.classes):
        raise ValueError(
            f"classes={np.unique(classes).tolist()} contradict those of the first call, or "
            f"the columns of y: {labels.classes.tolist()}."
        )
    return labels


def _check_no_lists(y: Any) -> None:
    """Raise if y holds a list of labels for each picture, where an indicator is needed."""
    if not isinstance(y, list | tuple) or not all(isinstance(row, list | tuple | set) for row in y):
        return
    lengths = {len(row) for row in y}
    words = any(isinstance(label, str) for row in y for label in row)
    if len(lengths) > 1 or (words and lengths != {1}):
        raise ValueError(
            "y holds a list of labels for each picture. Give an indicator instead, one column per "
            "label: sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y)."
        )


def is_indicator(y: Any) -> bool:
    """Tell if y has one column for each label."""
    shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    two = len(shape) == 2 and shape[1] > 1  # one column is a vector
    if two and not hasattr(y, "toarray") and np.asarray(y).dtype.kind == "f":
        assert_all_finite(np.asarray(y), input_name="y")
    return two and type_of_target(y, input_name="y") == "multilabel-indicator"


def _check_several(classes: np.ndarray) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only, {classes.tolist()[0]!r}: a classifier needs at least two. "
            "Where others come in later pieces, name all by classes= in the first partial_fit."
        )


def _labels(y: Any, n_rows: int) -> np.ndarray:
    check_none_missing(y)
    labels: np.ndarray = column_or_1d(y, warn=True)
    check_consistent_length(np.empty(n_rows), labels)
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    check_none_missing(labels.tolist())
    return labels


def check_none_missing(y: Any, name: str = "y") -> None:
    """Raise if a list of labels lacks some: as an array of text, NaN would be the label "nan".

    Raises
    ------
    ValueError
        Naming the first row.
    """
    if not isinstance(y, list | tuple):
        return
    missing = [i for i, label in enumerate(y) if np.ndim(label) == 0 and is_missing(label)]
    if missing:
        raise ValueError(f"Input {name} contains NaN or None, first in row {missing[0]} of {name}.")


def is_missing(label: Any) -> bool:
    """Tell if a label is None, NaN, NaT or pandas.NA."""
    try:
        return label is None or bool(label != label)  # NaN and NaT differ from themselves
    except TypeError:  # pandas.NA is neither equal nor unequal
        return True


def _indicator(y: Any, n_rows: int) -> Labels:
    """Check an indicator matrix: scikit-learn's own test accepts other values than 0 and 1."""
    # Sparse indicators come from MultiLabelBinarizer(sparse_output=True).
    dense = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if dense.ndim != 2 or dense.dtype.kind not in "biuf" or not np.isin(dense, (0, 1)).all():
        raise ValueError(
            "y must be an indicator matrix, with 1 in the column of each label that a picture has "
            f"and 0 elsewhere; got {dense.dtype} of shape {dense.shape}: {reprlib.repr(dense)}."
        )
    check_consistent_length(np.empty(n_rows), dense)
    return Labels(np.arange(dense.shape[1]), dense.astype(np.float32))


def check_columns(labels: Labels, weights: np.ndarray) -> None:
    """Raise unless each label of an indicator is present in some rows and absent in others.

    Rows of weight 0 count as absent.

    Raises
    ------
    ParameterError
        Naming the columns.
    """
    constant = labels.not_taught_by(weights > 0)
    if len(constant):
        raise ParameterError(
            f"Columns {constant.tolist()} of y are the same in every row: there is nothing to tell "
            "apart. Leave them out, or add pictures with and without these labels."
        )

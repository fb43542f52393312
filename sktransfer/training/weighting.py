"""The weight of each row in the loss: class weight times sample weight."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from sktransfer._common.warning import warn
from sktransfer.exceptions import ParameterError, TrainingWarning

# Training is in float32, where anything larger is infinite.
LARGEST_WEIGHT = float(np.finfo(np.float32).max)

ClassWeight = Mapping[Any, float] | str | None


def check_class_weight(class_weight: ClassWeight, n_columns: int | None = None) -> None:
    """Raise if a dict holds weights that training can't use.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
    n_columns : int, optional
        Number of labels, where a picture may have several.

    Raises
    ------
    ParameterError
        If a weight is negative or not finite, or a key is not the number of a column.
    """
    if not isinstance(class_weight, Mapping):
        return
    wrong = not all(_is_weight(weight) for weight in class_weight.values())
    columns = ""
    if n_columns is not None:
        wrong = wrong or any(key not in range(n_columns) for key in class_weight)
        columns = f", keyed by the number of a column of y, 0 to {n_columns - 1}"
    if wrong:
        raise ParameterError(
            f"class_weight must give finite numbers of at least 0{columns}; got "
            f"{dict(class_weight)}."
        )


def _is_weight(weight: Any) -> bool:
    return isinstance(weight, Real) and 0 <= float(weight) <= LARGEST_WEIGHT


def row_weights(
    codes: np.ndarray,
    classes: np.ndarray,
    class_weight: ClassWeight,
    sample_weight: np.ndarray | None,
    *,
    all_classes: bool = True,
) -> np.ndarray:
    """The weight of each row: that of its class times its own.

    Parameters
    ----------
    codes : ndarray of shape (n,), int
        Position of each row's label in `classes`.
    classes : ndarray of shape (k,)
        The user's own labels, which are the keys of a dict.
    class_weight : None, "balanced" or dict
        "balanced" gives every class the same total weight, sample weights included, so that a
        row of weight 0 counts as absent.
    sample_weight : ndarray of shape (n,), optional
    all_classes : bool
        These are all the rows, so that a class without weight is never learned.

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        If no row has any weight.

    Warns
    -----
    TrainingWarning
        If a class has no weight, as in a bootstrap draw without it. The others are learned.
    """
    weights = np.ones(len(codes)) if sample_weight is None else np.asarray(sample_weight, float)
    weights = weights * _weight_of_each_class(codes, classes, class_weight, weights)[codes]
    empty = classes[np.bincount(codes, weights, minlength=len(classes)) <= 0].tolist()
    if len(empty) == len(classes):
        raise ValueError(
            "The weights leave nothing to learn from: class_weight times sample_weight is 0 for "
            "every row. Give some rows a positive weight."
        )
    if empty and all_classes:
        warn(
            f"No row of the classes {empty} has any weight: y holds none, or class_weight times "
            "sample_weight is 0. The classifier can't learn them: add such rows, or give them a "
            "positive weight.",
            TrainingWarning,
        )
    return weights


def _weight_of_each_class(
    codes: np.ndarray, classes: np.ndarray, class_weight: ClassWeight, weights: np.ndarray
) -> np.ndarray:
    if isinstance(class_weight, str):  # "balanced"; scikit-learn's own counts rows, not weights
        totals = np.bincount(codes, weights, minlength=len(classes))
        return np.divide(
            totals.sum(), len(classes) * totals, where=totals > 0, out=np.zeros_like(totals)
        )
    computed: np.ndarray = compute_class_weight(class_weight, classes=classes, y=classes[codes])
    return computed


def positive_weights(
    y: np.ndarray, weights: np.ndarray, class_weight: ClassWeight
) -> list[float] | None:
    """Weight of the presence of each label relative to its absence.

    Parameters
    ----------
    y : ndarray of shape (n, k)
        Indicator of the rows to train on.
    weights : ndarray of shape (n,)
        Weights of these rows.
    class_weight : None, "balanced" or dict
        "balanced" gives presence and absence of each label the same total weight. The keys of a
        dict are numbers of columns; other columns get 1.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        present = weights @ y
        absent = weights.sum() - present
        # A label that is never present would get an infinite weight, which smoothed targets
        # would use.
        ones = np.ones_like(present)
        balanced: list[float] = np.divide(absent, present, out=ones, where=present > 0).tolist()
        return balanced
    return [float(class_weight.get(column, 1.0)) for column in range(y.shape[1])]

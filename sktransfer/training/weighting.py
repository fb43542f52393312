"""What each row counts in the loss: class weights times sample weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

ClassWeight = Mapping[Any, float] | str | None


def row_weights(
    codes: np.ndarray,
    classes: np.ndarray,
    class_weight: ClassWeight,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """Weight of each row, scaled to a mean of 1 so that the learning rate keeps its meaning.

    Parameters
    ----------
    codes : ndarray of shape (n,), int
        Place of each row's label in `classes`.
    classes : ndarray of shape (k,)
        The user's own labels, by which a dict is keyed.
    class_weight : None, "balanced" or dict
        "balanced" gives every class the same total, counting sample weights, so that a
        row of weight 0 counts as absent.
    sample_weight : ndarray of shape (n,), optional

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        If a class has no weight at all.
    """
    weights = np.ones(len(codes)) if sample_weight is None else np.asarray(sample_weight, float)
    weights = weights * _weight_of_each_class(codes, classes, class_weight, weights)[codes]
    totals = np.bincount(codes, weights, minlength=len(classes))
    if (totals <= 0).any():
        empty = classes[totals <= 0].tolist()
        raise ValueError(
            f"The weights leave nothing to learn from for class {empty}: class_weight times "
            "sample_weight sums to 0. Give its rows a positive weight, or leave them out."
        )
    return weights / weights.mean()


def _weight_of_each_class(
    codes: np.ndarray, classes: np.ndarray, class_weight: ClassWeight, weights: np.ndarray
) -> np.ndarray:
    if isinstance(class_weight, str):  # "balanced"; scikit-learn's own counts rows, not weights
        totals = np.bincount(codes, weights, minlength=len(classes))
        return np.divide(
            totals.sum(), len(classes) * totals, where=totals > 0, out=np.zeros_like(totals)
        )
    if class_weight is not None and min(class_weight.values(), default=1) < 0:
        raise ValueError(f"class_weight must not be negative; got {dict(class_weight)}.")
    computed: np.ndarray = compute_class_weight(class_weight, classes=classes, y=classes[codes])
    return computed

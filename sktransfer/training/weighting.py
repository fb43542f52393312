"""What each row counts in the loss: class weights times sample weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight

from sktransfer.training.losses import Targets

ClassWeight = Mapping[Any, float] | str | None


def row_weights(
    codes: np.ndarray,
    classes: np.ndarray,
    class_weight: ClassWeight,
    sample_weight: np.ndarray | None,
    *,
    all_classes: bool = True,
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
    all_classes : bool
        Whether every class must have some weight, as it must where these are all the rows.

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        If a class that must have some weight has none, or if no class has any.
    """
    weights = np.ones(len(codes)) if sample_weight is None else np.asarray(sample_weight, float)
    weights = weights * _weight_of_each_class(codes, classes, class_weight, weights)[codes]
    totals = np.bincount(codes, weights, minlength=len(classes))
    if (totals <= 0).all() or (all_classes and (totals <= 0).any()):
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


def positive_weights(targets: Targets, class_weight: ClassWeight) -> list[float] | None:
    """What the presence of each of several labels counts against its absence.

    Parameters
    ----------
    targets : Targets
        Of the rows that are trained on; y is an indicator (n, k).
    class_weight : None, "balanced" or dict
        "balanced" gives presence and absence of each label the same total; a dict is keyed
        by the number of the column, and those it leaves out count 1.

    Raises
    ------
    ValueError
        If a weight is negative, or of a column that is not there.
    """
    if class_weight is None:
        return None
    n_labels = targets.y.shape[1]
    if isinstance(class_weight, str):
        present = (targets.y * targets.weights[:, None]).sum(0)
        absent = targets.weights.sum() - present
        # What is never there has no presence to weigh; smoothed targets would ask for it.
        return torch.where(present > 0, absent / present, 1.0).tolist()
    unknown = [key for key in class_weight if key not in range(n_labels)]
    if unknown or min(class_weight.values(), default=1) < 0:
        raise ValueError(
            f"class_weight must give numbers of at least 0 to columns 0 to {n_labels - 1} of y; "
            f"got {dict(class_weight)}."
        )
    return [float(class_weight.get(column, 1.0)) for column in range(n_labels)]

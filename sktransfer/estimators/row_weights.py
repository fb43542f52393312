"""Sample weights and class weights become one weight for each row of X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sktransfer._common.sklearn_private import check_sample_weight
from sktransfer._common.tensors import numpy_of
from sktransfer.estimators.labels import Labels, check_columns
from sktransfer.exceptions import ParameterError
from sktransfer.training.weighting import LARGEST_WEIGHT, check_class_weight, row_weights


def weights_of_rows(
    labels: Labels,
    sample_weight: Any,
    class_weight: Mapping[Any, float] | str | None,
    *,
    all_classes: bool = True,
) -> np.ndarray:
    """Weight of each row of X in the loss.

    Parameters
    ----------
    labels : Labels
    sample_weight : array-like of shape (n,) or None
    class_weight : dict, "balanced" or None
        With several labels it weighs their presence in the loss, and not whole rows.
    all_classes : bool, default=True
        False where other rows follow, as in `partial_fit`: a class may be missing then.

    Returns
    -------
    weights : ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        If a weight can't be used, or all rows have a weight of 0.
    """
    check_class_weight(class_weight, len(labels.classes) if labels.multilabel else None)
    if sample_weight is not None:
        sample_weight = check_sample_weight(
            numpy_of(sample_weight), labels.y, dtype=np.float64, ensure_non_negative=True
        )
        if sample_weight.max() > LARGEST_WEIGHT:
            raise ParameterError(
                f"sample_weight must be at most {LARGEST_WEIGHT:.3g}; got "
                f"{sample_weight.max():.3g}. Divide all weights by the largest."
            )
    # With several labels, class_weight weighs presence against absence within a row's loss.
    if labels.multilabel:
        weights: np.ndarray = np.ones(len(labels.y)) if sample_weight is None else sample_weight
        if all_classes:
            check_columns(labels, weights)
        return weights
    return row_weights(
        *(labels.y, labels.classes, class_weight, sample_weight), all_classes=all_classes
    )

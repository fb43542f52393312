"""Which pictures train and which validate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length

from sktransfer.estimators.labels import Labels
from sktransfer.exceptions import ParameterError


class Split(NamedTuple):
    """Rows of X by what they are for.

    Parameters
    ----------
    train : ndarray of int
    held_out : ndarray of int or None
        Rows of X to validate on; None without `validation_fraction`.
    """

    train: np.ndarray
    held_out: np.ndarray | None = None


def split_rows(
    validation_fraction: Any, labels: Labels, weights: np.ndarray, groups: Any, seed: int
) -> Split:
    """Rows of X to train on, and those held out for validation.

    Rows of weight 0 are in neither: they are as good as absent.

    Parameters
    ----------
    validation_fraction : float, splitter or None
    labels : Labels
    weights : ndarray of shape (n,)
    groups : array-like of shape (n,) or None
        Of all rows; for a splitter.
    seed : int
        For a fraction.

    Raises
    ------
    ValueError
        If the split leaves a class nothing to train on, or nothing to validate with.
    """
    if groups is not None:
        check_consistent_length(labels.y, groups)
    present = np.flatnonzero(weights)
    # Every row trains unless a split was asked for: small sets can't spare a hidden one.
    if validation_fraction is None:
        return Split(present)
    if hasattr(validation_fraction, "split"):
        # The splitter gets all rows, those of weight 0 too: `groups` counts them.
        every = np.arange(len(labels.y))
        train, held_out = next(validation_fraction.split(every, labels.y, groups))
    else:
        train, held_out = _drawn(validation_fraction, labels, present, seed)
    # Sorted, so that the same rows in another order make the same batches.
    train, held_out = (np.intersect1d(part, present) for part in (train, held_out))
    _check(validation_fraction, labels, present, train, held_out)
    return Split(train, held_out)


def _drawn(fraction: Any, labels: Labels, rows: np.ndarray, seed: int) -> Any:
    try:
        return train_test_split(
            rows,
            test_size=float(fraction),  # scikit-learn knows no float32
            stratify=None if labels.multilabel else labels.classes[labels.y[rows]],
            random_state=seed,
        )
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={fraction} can't hold out rows of every class: "
            f"{str(error).rstrip('.')}. Change the fraction, or use None."
        ) from error


def _check(
    splitter: Any, labels: Labels, present: np.ndarray, train: np.ndarray, held_out: np.ndarray
) -> None:
    """Raise if a split leaves a class nothing to train on, or nothing to validate with."""
    # The split is not to blame for classes that no row of X teaches.
    lost = np.setdiff1d(labels.not_taught_by(train), labels.not_taught_by(present))
    if len(lost):
        what = (
            "rows with, or all without, the labels" if labels.multilabel else "rows of the classes"
        )
        raise ParameterError(
            f"validation_fraction={splitter} holds out all {what} {labels.classes[lost].tolist()}, "
            "and leaves none to train on. Hold out less, or split by class, as "
            "StratifiedGroupKFold does."
        )
    if not len(held_out):
        raise ParameterError(
            f"validation_fraction={splitter} holds out only rows of weight 0, which can't tell how "
            "good the training is. Leave such rows out of X."
        )

"""The folds that judge all candidates, and the standard error of what they say."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from sktransfer.exceptions import ParameterError
from sktransfer.selection.cross_validation import Folds, make_folds
from sktransfer.selection.pictures import Sample

# The standard error is mostly that of the rows, which more repeats do not change.
_REPEATS = 2


def folds_of(cv: Any, sample: Sample, n_rows: int) -> Folds:
    """Positions in the sample to train on and to judge by, for each fold.

    Parameters
    ----------
    cv : int, splitter, iterable of splits, or None
        As `rank_backbones` takes it.
    sample : Sample
    n_rows : int
        Number of all rows, of which given splits speak.

    Raises
    ------
    ParameterError
        If `cv` can't split the rows, or gives fewer than two splits.
    """
    if cv is None or isinstance(cv, Integral):
        return _repeated(cv, sample)
    if hasattr(cv, "split") and not isinstance(cv, str):
        folds = _split(cv, sample)
    else:
        folds = _among_drawn(_given(cv, n_rows), sample.rows, n_rows)
    if len(folds) < 2:
        raise ParameterError(
            f"cv gives {len(folds)} split. Give at least two, whose differences tell how sure the "
            "order is."
        )
    return folds


def corrected_error(values: np.ndarray, folds: Folds) -> float:
    """Standard error of the mean of values of folds, such as accuracies, or their differences.

    Training rows are shared by the folds, so that their values vary less than those of other
    data would. Source: Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning
    52, 2003: the variance grows by the ratio of test rows to training rows ("corrected resampled
    t-test").

    Parameters
    ----------
    values : ndarray of shape (n_folds,)
    folds : list
    """
    ratio = np.mean([len(held_out) / len(learned) for learned, held_out in folds])
    return float(np.sqrt((1 / len(values) + ratio) * values.var(ddof=1)))


def _repeated(n: Any, sample: Sample) -> Folds:
    if n is not None and n < 2:
        raise ParameterError(f"cv={n} makes no folds: use 2 or more, or None for 5.")
    repeats = [make_folds(sample.y, sample.groups, seed, n and int(n)) for seed in range(_REPEATS)]
    if len(repeats[0]) < (n or 2):
        raise ParameterError(
            f"cv={n} is too many folds for these pictures: no class has so many different ones, or "
            f"there are too few to hold some out. Use at most cv={max(len(repeats[0]), 2)}, or add "
            "pictures."
        )
    return [fold for repeat in repeats for fold in repeat]


def _split(splitter: Any, sample: Sample) -> Folds:
    try:
        return list(check_cv(splitter).split(np.zeros(len(sample.y)), sample.y))
    except ValueError as error:
        raise ParameterError(
            f"cv={splitter!r} can't split the pictures: {error} A split by groups is given as "
            "cv=list(splitter.split(X, y, groups))."
        ) from error


def _given(cv: Any, n_rows: int) -> Folds:
    """Splits that the user made, which speak of all rows."""
    try:
        folds = [(np.asarray(learned), np.asarray(held_out)) for learned, held_out in cv]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            "cv must be an integer, a splitter of scikit-learn, a list of pairs of row numbers (to "
            f"train on, to judge by), or None; got {cv!r:.80}."
        ) from error
    for rows in (rows for fold in folds for rows in fold):
        if rows.dtype.kind not in "iu" or rows.min(initial=0) < 0 or rows.max(initial=0) >= n_rows:
            raise ParameterError(f"The splits of cv must hold row numbers from 0 to {n_rows - 1}.")
    if any(np.isin(held_out, learned).any() for learned, held_out in folds):
        raise ParameterError("The splits of cv must not judge by rows that they train on.")
    return folds


def _among_drawn(folds: Folds, drawn: np.ndarray, n_rows: int) -> Folds:
    """The same splits of the rows that are used, by their positions there."""
    position = np.full(n_rows, -1)
    position[drawn] = np.arange(len(drawn))
    kept = []
    for fold in folds:
        learned, held_out = (position[rows][position[rows] >= 0] for rows in fold)
        if not len(learned) or not len(held_out):
            raise ParameterError(
                "A split of cv has no rows to train on, or none to judge by, among the "
                f"{len(drawn)} that are used. Give larger splits, or max_rows=None."
            )
        kept.append((learned, held_out))
    return kept

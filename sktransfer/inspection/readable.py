"""Which pictures can be read, and predictions for those."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from sktransfer._common.threads import in_reading_threads
from sktransfer.exceptions import ParameterError, UnreadableImageError
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.subject import Subject


def readable_rows(images: ImageSource, n_jobs: int | None = None) -> np.ndarray:
    """Tell for each picture (n,) if it can be read.

    Parameters
    ----------
    images : ImageSource
    n_jobs : int, optional
        Number of threads that read; by default as many as torch uses.
    """

    def can_be_read(row: int) -> bool:
        try:
            images.read(row)
        except UnreadableImageError:
            return False
        return True

    return np.array(in_reading_threads(can_be_read, range(len(images)), n_jobs), dtype=bool)


def outcome_of_readable(
    subject: Subject, X: Any, pictures: ImageSource | None, who: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Predictions for all pictures that can be read.

    Parameters
    ----------
    subject : Subject
    X : array, list, Series or DataFrame
        As the classifier takes it.
    pictures : ImageSource or None
        The pictures in X, if it holds some.
    who : str
        How errors name X.

    Returns
    -------
    readable : ndarray of shape (n,), bool
    predictions : ndarray of shape (n_readable,), or (n_readable, n_classes)
    probabilities : ndarray of shape (n_readable, n_classes), or None

    Raises
    ------
    ParameterError
        If no picture can be read.
    """
    n = len(X) if pictures is None else len(pictures)
    # Such an extractor gives rows of NaN, for which some classifiers predict something.
    is_silent = getattr(subject.network, "on_error", "raise") == "nan"
    if pictures is None or not is_silent:
        try:
            return np.ones(n, dtype=bool), *subject.outcome(X)
        except UnreadableImageError:
            if pictures is None:
                raise
    # All files are opened only now: nearly always, none is damaged.
    readable = readable_rows(pictures)
    if not readable.any():
        raise ParameterError(
            f"None of the {n} pictures of {who} can be read; the first is {pictures.describe(0)}."
        )
    return readable, *subject.outcome(_safe_indexing(X, np.flatnonzero(readable)))

"""The exact search for nearest pictures in the space of features."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

# Rows up to which an exact search takes seconds and a few gigabytes at most.
MOST_ROWS = 100_000


def nearest(
    among: np.ndarray, features: np.ndarray, n: int, metric: str = "cosine"
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of some feature vectors, for each of others.

    Parameters
    ----------
    among : ndarray of shape (n_rows, d)
    features : ndarray of shape (n_wanted, d)
    n : int
        At most `n_rows`.
    metric : {"cosine", "euclidean"}

    Returns
    -------
    distances, rows : ndarray of shape (n_wanted, n)
        The nearest first.
    """
    prepared = _of_equal_size if metric == "cosine" else np.asarray
    search = NearestNeighbors(metric=metric, algorithm="brute").fit(prepared(among))
    distances, rows = search.kneighbors(prepared(features), n)
    return distances, rows


def _of_equal_size(features: np.ndarray) -> np.ndarray:
    """Features (n, d) whose largest value is 1 in each row, which changes no cosine.

    scikit-learn takes float32 vectors that are shorter than about 1e-6 for zero, and networks with
    random weights make such.
    """
    largest = abs(features).max(axis=1, keepdims=True, initial=0)
    return features / np.where(largest > 0, largest, 1)

"""The pictures that a choice is based on: some of the rows that train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.utils import resample
from torch import Tensor

from sktransfer.activations.results import Known
from sktransfer.images.sources import ImageSource

# With fewer drawn rows of each class, some folds would have none to learn it from.
_ROWS_OF_A_CLASS = 5


class Sample(NamedTuple):
    """Some of the pictures, and what a comparison needs to know of them.

    Parameters
    ----------
    rows : ndarray of int
        Their positions among all pictures, in order.
    images : ImageSource
    y, weights : ndarray
    groups : ndarray or None
        See `LabelledPictures.groups_of`.
    """

    rows: np.ndarray
    images: ImageSource
    y: np.ndarray
    weights: np.ndarray
    groups: np.ndarray | None

    def known(self, activations: Tensor) -> Known:
        """Activations of these pictures, for a pass over all."""
        return Known(self.rows.tolist(), activations)


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures that a choice may be based on.

    Parameters
    ----------
    images : ImageSource
    y : ndarray of shape (n,) or (n, k)
    weights : ndarray of shape (n,)
    rows : ndarray of int
        Those that may be used: they train.
    groups : ndarray of shape (n,), or None
    """

    images: ImageSource
    y: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    groups: np.ndarray | None

    def sample(self, n: int, seed: int) -> Sample:
        """At most n of the pictures; see `drawn`."""
        rows = self.drawn(n, seed)
        return Sample(
            rows,
            self.images.taken(rows.tolist()),
            self.y[rows],
            self.weights[rows],
            self.groups_of(rows),
        )

    def drawn(self, n: int, seed: int) -> np.ndarray:
        """At most n of the rows, in order, with each class in proportion.

        Where there are many classes, some of them stand for all: one row of each could not be
        compared.
        """
        rows, y = self.rows, self.y
        if len(rows) <= n:
            return rows
        if y.ndim > 1:
            return np.sort(resample(rows, replace=False, n_samples=n, random_state=seed))
        classes, counts = np.unique(y[rows], return_counts=True)
        if len(classes) > n // _ROWS_OF_A_CLASS:
            several = classes[counts > 1]  # a class of one row can't be held out
            some = np.random.default_rng(seed).permutation(several)[: n // _ROWS_OF_A_CLASS]
            rows = rows[np.isin(y[rows], some)] if len(some) else rows
        if len(rows) <= n:
            return rows
        drawn = resample(rows, replace=False, n_samples=n, stratify=y[rows], random_state=seed)
        return np.sort(drawn)

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        """The groups of some rows: the user's, or else rows of the same file or object.

        Oversampling repeats rows, and a head would be scored on a picture that it has seen.
        """
        if self.groups is not None:
            return self.groups[rows]
        paths, items = dict(self.images.paths()), self.images.items
        names = [paths.get(row, id(items[row])) for row in rows.tolist()]
        number = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return None if len(number) == len(names) else np.array([number[name] for name in names])

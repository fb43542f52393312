"""How much a property of pictures tells of a class, by predictions of rows that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Rows that a value of the property is credited with in advance, of the classes of the whole set: a
# value of one or two pictures then predicts little.
_PRIOR = 2.0


class Groups(NamedTuple):
    """The rows of each value of a property.

    Parameters
    ----------
    values : list of str or None
        Each value once; None is one too.
    of_rows : ndarray of shape (n,), int
        Position in `values` of each row's value.
    """

    values: list[str | None]
    of_rows: np.ndarray

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Groups:
        """Group rows by the value that each of them has."""
        position = {value: i for i, value in enumerate(dict.fromkeys(values))}
        return cls(list(position), np.array([position[value] for value in values]))


class Association(NamedTuple):
    """How much a property tells of a class.

    Parameters
    ----------
    share : float
        Part of the entropy of "of this class or not" that it removes, at most 1; around 0 or below
        it if the property tells nothing.
    error : float
        Standard error of this share over the rows.
    value : str or None
        The value that speaks most for this class.
    """

    share: float
    error: float
    value: str | None

    def is_clear(self, at_least: float) -> bool:
        """Tell if the share is large enough, and more than three standard errors above 0."""
        return self.share >= at_least and self.share > 3 * self.error


def association(groups: Groups, of_class: np.ndarray) -> Association:
    """Predict for each row if it is of a class, by the other rows of the same value.

    This is the mutual information of both in units of the entropy, cross-validated by leaving one
    row out, without which each property of many values would seem to tell a lot.

    Parameters
    ----------
    groups : Groups
    of_class : ndarray of shape (n,), bool
        True for some rows and not for all.
    """
    n, n_groups = len(of_class), len(groups.values)
    sizes = np.bincount(groups.of_rows, minlength=n_groups)
    inside = np.bincount(groups.of_rows[of_class], minlength=n_groups)
    counts = np.array([sizes - inside, inside])  # of rows outside of the class, and in it
    totals = counts.sum(axis=1, keepdims=True)
    # Of all other rows: with a row of its own, each answer has a chance.
    prior = totals / (n + 1)
    chance = (np.maximum(counts - 1, 0) + _PRIOR * prior) / (sizes - 1 + _PRIOR)
    gains = np.log(chance / prior)
    shares = totals / n
    entropy = -np.sum(shares * np.log(shares))
    mean = np.sum(counts * gains) / n
    spread = np.sqrt(max(np.sum(counts * gains**2) / n - mean**2, 0))
    speaks_for = np.where(inside * n > sizes * totals[1], (counts * gains).sum(axis=0), -np.inf)
    return Association(
        float(mean / entropy),
        float(spread / entropy / np.sqrt(n)),
        groups.values[int(speaks_for.argmax())],
    )

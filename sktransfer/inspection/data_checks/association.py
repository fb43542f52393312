"""How much a property of pictures tells of a label, by predictions of rows that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Rows that a value of the property is credited with in advance, with the labels of the whole set:
# a value of one or two pictures then predicts little.
_PRIOR = 2.0


class Association(NamedTuple):
    """How much the property tells.

    Parameters
    ----------
    share : float
        Part of the entropy of the labels that it removes, at most 1; around 0 or below it if the
        property tells nothing.
    error : float
        Standard error of this share over the rows.
    value : str or None
        The value that contributes most.
    code : int
        The commonest label of the rows with this value.
    """

    share: float
    error: float
    value: str | None
    code: int


def association(values: Sequence[str | None], codes: np.ndarray) -> Association:
    """Predict the label of each row by the other rows of the same value of a property.

    This is the mutual information of both in units of the labels' entropy, cross-validated by
    leaving one row out, without which each property of many values would seem to tell a lot.

    Parameters
    ----------
    values : sequence of str or None
        Of each row; None is a value too.
    codes : ndarray of shape (n,), int
        Labels, at least two of them different.
    """
    n, k = len(codes), int(codes.max()) + 1
    _, group = np.unique([repr(value) for value in values], return_inverse=True)
    _, pair, of_pair = np.unique(group * k + codes, return_inverse=True, return_counts=True)
    same_group, same_label = np.bincount(group)[group], np.bincount(codes)[codes]
    # Of all other rows: with a row of its own, each label has a chance.
    prior = same_label / (n - 1 + k)
    chance = (of_pair[pair] - 1 + _PRIOR * prior) / (same_group - 1 + _PRIOR)
    gains = np.log(chance / prior)
    shares = np.bincount(codes) / n
    entropy = -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))
    best = np.bincount(group, weights=gains).argmax()
    first = int(np.flatnonzero(group == best)[0])
    return Association(
        float(gains.mean() / entropy),
        float(gains.std() / entropy / np.sqrt(n)),
        values[first],
        int(np.bincount(codes[group == best]).argmax()),
    )


def is_clear(found: Association, at_least: float) -> bool:
    """Tell if a share is large enough to matter, and more than three standard errors above 0."""
    return found.share >= at_least and found.share > 3 * found.error

"""Scores of candidates on the same rows, and the choice between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

Candidate = TypeVar("Candidate", str, int)


@dataclass(frozen=True)
class Score:
    """The cross-validated score of one candidate, such as a mean log-likelihood.

    Parameters
    ----------
    mean : float
        Weighted mean over the rows; higher is better.
    gain : float
        Its difference to the mean of the simplest candidate.
    gain_error : float
        Standard error of `gain`. Both candidates are scored on the same rows, so the differences of
        rows count, which vary less than the scores.
    """

    mean: float
    gain: float
    gain_error: float


def as_dicts(scores: Mapping[Any, Score] | None) -> dict[Any, dict[str, float]] | None:
    """Scores as plain dictionaries, as scikit-learn's results are."""
    return None if scores is None else {name: asdict(score) for name, score in scores.items()}


def compared(
    of_rows: Mapping[Candidate, np.ndarray],
    weights: np.ndarray,
    groups: np.ndarray | None = None,
) -> dict[Candidate, Score]:
    """Compare candidates by their scores of the same rows.

    Parameters
    ----------
    of_rows : mapping of str or int to ndarray of shape (n,)
        Scores of each row, by candidate; the simplest candidate is the first.
    weights : ndarray of shape (n,)
        Weights of the rows; at least one is positive.
    groups : ndarray of shape (n,), optional
        Rows of a group are alike, and together one observation. By default each row is one.
    """
    shares = weights / weights.sum()
    group = np.arange(len(weights)) if groups is None else np.unique(groups, return_inverse=True)[1]
    simplest = next(iter(of_rows.values()))
    scores = {}
    for candidate, values in of_rows.items():
        differences = values - simplest
        gain = float(shares @ differences)
        # The variance of a weighted mean of independent groups; of rows with equal weights, it is
        # the usual one. (Liang & Zeger, Biometrika 73(1), 1986: the "sandwich" of a mean.)
        error = float(np.sqrt((np.bincount(group, shares * (differences - gain)) ** 2).sum()))
        scores[candidate] = Score(float(shares @ values), gain, error)
    return scores


def best_beyond_error(scores: Mapping[str, Score]) -> str:
    """The best candidate, or the simplest if the gain is within one standard error.

    Source: Breiman, Friedman, Olshen & Stone, "Classification and Regression Trees", 1984, section
    3.4.3, the rule of one standard error, here of the paired difference.
    """
    best = max(scores, key=lambda candidate: scores[candidate].mean)
    simplest = next(iter(scores))
    return best if scores[best].gain > scores[best].gain_error else simplest


def smallest_within_error(
    of_rows: Mapping[int, np.ndarray], weights: np.ndarray, groups: np.ndarray | None = None
) -> int:
    """The first candidate that the best one beats by no more than the standard error of the gain.

    Candidates are in order, from the simplest. Parameters are those of `compared`.
    """
    best = max(of_rows, key=lambda candidate: float(weights @ of_rows[candidate]))
    for candidate, values in of_rows.items():
        pair = {candidate: values, best: of_rows[best]}
        gain = compared(pair, weights, groups)[best]
        if gain.gain <= gain.gain_error:
            return candidate
    return best

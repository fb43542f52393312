"""The task, one label per picture or several: what scores mean, and which rows are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_softmax, logit, softmax
from torch import Tensor


@dataclass(frozen=True)
class OneLabel:
    """Each picture has one of k classes; y holds its code, 0 to k - 1.

    Parameters
    ----------
    one_vs_rest : bool
        Scores come from a loss that tells each class apart from all others, without softmax.
    """

    one_vs_rest: bool = False

    multilabel = False

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities for scores (..., k); they sum to 1."""
        # One against the rest: the sigmoids are divided by their sum. Softmax of their logarithms
        # does it without 0 / 0 where all of them are tiny.
        return softmax(_log_sigmoid(scores) if self.one_vs_rest else scores, axis=-1)

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Their logarithms, exact where the probabilities round to 0."""
        return log_softmax(_log_sigmoid(scores) if self.one_vs_rest else scores, axis=-1)

    def scores(self, probabilities: np.ndarray) -> np.ndarray:
        """Scores that have these probabilities, which are finite."""
        tiny = np.finfo(probabilities.dtype).tiny
        if not self.one_vs_rest:
            return np.log(np.maximum(probabilities, tiny))
        # Sigmoids in proportion to the probabilities; halved they are below 1, and logit is finite.
        return logit(np.maximum(probabilities / 2, tiny))

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """Codes (n,) for scores (n, k)."""
        return scores.argmax(axis=1)

    def right(self, scores: Tensor, y: Tensor) -> Tensor:
        """Which rows (n,) of scores (n, k) have the label of y: codes, or shares of mixed rows."""
        return scores.argmax(1) == (y if y.ndim == 1 else y.argmax(1))

    def log_losses(self, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Negative log-likelihood of codes y (n,), one for each row."""
        return -np.take_along_axis(self.log_probabilities(scores), y[:, None], 1)[:, 0]

    def log_loss(self, scores: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
        """Weighted mean of `log_losses`."""
        return float(np.average(self.log_losses(scores, y), weights=weights))


@dataclass(frozen=True)
class SeveralLabels:
    """A picture may have any of k labels; y is an indicator (n, k)."""

    one_vs_rest = True
    multilabel = True

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities for scores (..., k), each by itself."""
        return expit(scores)

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Their logarithms, exact where the probabilities round to 0."""
        return _log_sigmoid(scores)

    def scores(self, probabilities: np.ndarray) -> np.ndarray:
        """Scores that have these probabilities, which are finite."""
        limits = np.finfo(probabilities.dtype)
        return logit(np.clip(probabilities, limits.tiny, 1 - limits.epsneg))

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """Indicator (n, k), int, for scores (n, k): labels more likely than not."""
        return (scores > 0).astype(int)

    def right(self, scores: Tensor, y: Tensor) -> Tensor:
        """Which rows (n,) of scores (n, k) have all labels as in y."""
        return ((scores > 0) == (y > 0.5)).all(dim=1)

    def log_losses(self, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Negative log-likelihood of an indicator y (n, k), the mean over labels for each row."""
        losses = y * np.logaddexp(0, -scores) + (1 - y) * np.logaddexp(0, scores)
        return losses.mean(axis=1)

    def log_loss(self, scores: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
        """Weighted mean of `log_losses`."""
        return float(np.average(self.log_losses(scores, y), weights=weights))


Task = OneLabel | SeveralLabels


def _log_sigmoid(scores: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -scores)

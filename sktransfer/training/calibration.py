"""Temperature scaling: divide scores by one number, so that probabilities are calibrated."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from sktransfer.training.batches import Rows
from sktransfer.training.net import TransferNet
from sktransfer.training.task import Task

# Prior of the logarithm of a temperature: Student's t. Its scale is the largest of a grid with
# which calibration on 18, 40 and 120 rows of cifar10_subset was no worse than none, for heads that
# are overconfident, calibrated and underconfident: `python -m benchmarks.calibration`.
_FREEDOM = 3
_SCALE = 0.07
# The logarithm of the largest temperature, and of the inverse of the smallest.
_FARTHEST = float(np.log(20))


def as_evidence(weights: np.ndarray) -> np.ndarray:
    """Weights of rows, scaled to add up to the effective number of rows.

    One heavy row among many light ones is hardly more evidence than one row.

    Source: Kish, "Survey Sampling", 1965, section 11.7.
    """
    weights = weights / weights.max()
    return weights * (weights.sum() / (weights**2).sum())


def fitted_temperature(task: Task, net: TransferNet, validation: Rows) -> float:
    """The temperature that suits the scores of validation rows best, weighted as in their loss."""
    targets = validation.targets
    scores, weights = net.scores_of(validation).numpy(), as_evidence(targets.weights.numpy())
    return best_temperature(task, scores, targets.y.numpy(), weights)


def best_temperature(
    task: Task, scores: np.ndarray, y: np.ndarray, weights: np.ndarray, scale: float = _SCALE
) -> float:
    """The temperature of highest posterior density, given some rows.

    Its reciprocal is the coefficient of a logistic regression on the scores, which has no
    finite value where all rows are classified correctly. The prior of its logarithm is therefore
    a Student's t around 0: a few rows move it little, and its heavy tails hardly matter where
    many rows agree.

    Sources: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2;
    for the prior, Gelman et al., "A weakly informative default prior distribution for
    logistic and other regression models", Annals of Applied Statistics 2(4), 2008.

    Parameters
    ----------
    task : Task
    scores : ndarray of shape (n, k)
    y : ndarray of shape (n,) or (n, k)
    weights : ndarray of shape (n,)
        Number of rows that each row counts as; not all 0.
    scale : float
        Of the prior; infinity for none.
    """
    scores = scores.astype(np.float64)

    def surprise(log_t: float) -> float:
        prior = (_FREEDOM + 1) / 2 * np.log1p((log_t / scale) ** 2 / _FREEDOM)
        return float(weights.sum() * task.log_loss(scores / np.exp(log_t), y, weights) + prior)

    # The sum may have two minima: near 0, by the prior, and where the rows alone have theirs.
    grid = np.linspace(-_FARTHEST, _FARTHEST, 25)
    lowest = int(np.argmin([surprise(log_t) for log_t in grid]))
    bounds = grid[max(lowest - 1, 0)], grid[min(lowest + 1, len(grid) - 1)]
    found = minimize_scalar(surprise, bounds=bounds, method="bounded")
    return float(np.exp(found.x)) if found.fun < surprise(0.0) else 1.0

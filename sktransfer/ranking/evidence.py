"""LogME: how well features explain the labels, by the evidence of linear models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

# Ratios of prior to noise variance that are tried first, relative to the mean eigenvalue. Evidence
# is flat beyond them.
_RATIOS = np.logspace(-8, 8, 65)


class Evidence(NamedTuple):
    """The evidence of one Bayesian linear model, at its best two precisions.

    Parameters
    ----------
    value : float
        Logarithm of the density of the targets.
    alpha, beta : float
        Precision of the prior of the weights, and of the noise.
    """

    value: float
    alpha: float
    beta: float


def log_evidences(X: np.ndarray, Y: np.ndarray) -> list[Evidence]:
    """The largest log-evidence of each column of Y, by linear models on X without intercept.

    You, Liu, Wang & Long, "LogME: Practical Assessment of Pre-trained Models for Transfer
    Learning", ICML 2021. With the prior N(0, 1/alpha) of the weights, targets are
    N(0, (I + t X X') / beta), where t = beta / alpha. For each t, the best beta is known, so one
    number is searched. In this form there is no term of the weights to forget: the reference code
    omits -(D - k)/2 ln(alpha) of the determinant where the k rows are fewer than the D features.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    Y : ndarray of shape (n, n_targets)

    Returns
    -------
    list of Evidence
    """
    U, lengths, _ = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    along = (U.T @ Y) ** 2
    # What no linear model on X can explain, with eigenvalue 0.
    beyond = np.maximum((Y**2).sum(0) - along.sum(0), 0)
    return [
        _best(lengths**2, squares, rest, len(Y))
        for squares, rest in zip(along.T, beyond, strict=True)
    ]


def logme(X: np.ndarray, Y: np.ndarray) -> float:
    """LogME of features: the mean log-evidence of the classes for one row; higher is better.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    Y : ndarray of shape (n, n_classes)
        1 for each label that a row has, else 0. Labels that no row has are left out.
    """
    Y = Y[:, Y.any(axis=0)]
    return float(np.mean([each.value for each in log_evidences(X, Y)]) / len(Y))


def _best(eigenvalues: np.ndarray, squares: np.ndarray, rest: float, n: int) -> Evidence:
    """The best evidence of one target, whose squared coordinates along eigenvectors are given."""

    def precision(t: float) -> float:
        explained = (squares / (1 + t * eigenvalues)).sum() + rest
        return float(n / max(explained, np.finfo(float).tiny))

    def value(t: float) -> float:
        determinant = np.log1p(t * eigenvalues).sum()
        return float((n * (np.log(precision(t) / (2 * np.pi)) - 1) - determinant) / 2)

    ratios = np.log(_RATIOS / (eigenvalues.mean() or 1.0))
    values = [value(np.exp(ratio)) for ratio in ratios]
    # There may be several maxima: only the neighbourhood of the best ratio is searched.
    at = int(np.argmax(values))
    around = ratios[max(at - 1, 0)], ratios[min(at + 1, len(ratios) - 1)]
    found = minimize_scalar(
        lambda ratio: -value(np.exp(ratio)),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-6},
    )
    t = float(np.exp(found.x if -found.fun > values[at] else ratios[at]))
    beta = precision(t)
    return Evidence(value(t), beta / t, beta)

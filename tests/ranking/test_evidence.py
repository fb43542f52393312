import numpy as np
import pytest
from scipy.stats import multivariate_normal

from sktransfer.ranking.evidence import log_evidences, logme


def data(n, n_features, seed=0, rank=None, signal=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(1.0, 1.0, (n, n_features))
    if rank is not None:
        X = X[:, :rank] @ rng.normal(size=(rank, n_features))
    Y = (np.arange(n)[:, None] % 3 == np.arange(3)).astype(float)
    return X + signal * Y @ rng.normal(size=(3, n_features)), Y


def naive(X, y, alpha, beta):
    """Return the log-density of y, whose covariance is written out."""
    covariance = np.eye(len(y)) / beta + X @ X.T / alpha
    return multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)


@pytest.mark.parametrize("shape", [(40, 6), (20, 90), (30, 30)], ids=["n > D", "n < D", "n = D"])
@pytest.mark.parametrize("rank", [None, 4])
def test_evidence_is_the_naive_one(shape, rank):
    X, Y = data(*shape, rank=rank)
    for evidence, y in zip(log_evidences(X, Y), Y.T, strict=True):
        assert evidence.value == pytest.approx(naive(X, y, *evidence[1:]), rel=1e-6)


@pytest.mark.parametrize("shape", [(40, 6), (20, 90)])
def test_evidence_is_the_largest_one(shape):
    X, Y = data(*shape, signal=0.2)
    for evidence, y in zip(log_evidences(X, Y), Y.T, strict=True):
        for a, b in (
            (1.02, 1),
            (0.98, 1),
            (1, 1.02),
            (1, 0.98),
            (1.02, 1.02),
            (10, 0.1),
            (0.1, 10),
        ):
            # With fewer rows than features, evidence is flat where the noise is hardly any.
            assert naive(X, y, a * evidence.alpha, b * evidence.beta) < evidence.value + 1e-6


def test_the_weights_space_form_needs_the_term_that_the_reference_code_omits():
    X, Y = data(20, 90)
    (value, alpha, beta), *_ = log_evidences(X, Y)
    n, n_features = X.shape
    lengths = np.linalg.svd(X, compute_uv=False) ** 2
    A = alpha * np.eye(n_features) + beta * X.T @ X
    m = beta * np.linalg.solve(A, X.T @ Y[:, 0])
    as_published = (
        n / 2 * np.log(beta / (2 * np.pi))
        + n_features / 2 * np.log(alpha)
        - np.log(alpha + beta * lengths).sum() / 2
        - beta / 2 * ((Y[:, 0] - X @ m) ** 2).sum()
        - alpha / 2 * (m**2).sum()
    )
    assert value == pytest.approx(as_published - (n_features - n) / 2 * np.log(alpha), rel=1e-6)
    assert abs(value - as_published) > 1


def test_logme_is_a_mean_over_classes_and_rows():
    X, Y = data(40, 6)
    assert logme(X, Y) == pytest.approx(np.mean([e.value for e in log_evidences(X, Y)]) / 40)
    noise = np.random.default_rng(1).normal(size=X.shape)
    assert logme(X, Y) > logme(noise, Y)


@pytest.mark.parametrize("X", [np.zeros((9, 4)), np.ones((9, 4)), np.eye(9)])
def test_features_of_low_rank_or_none_have_finite_evidence(X):
    _, Y = data(9, 4)
    assert np.isfinite(logme(X, Y))
    several = np.hstack([Y, X[:, :1]])  # a target that X holds
    assert np.isfinite(logme(X, several))
    assert logme(X, np.hstack([Y, np.zeros((9, 1))])) == logme(X, Y)

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from sktransfer.training.task import OneLabel, SeveralLabels

TASKS = [OneLabel(), OneLabel(one_vs_rest=True), SeveralLabels()]
SCORES = np.random.default_rng(0).normal(0, 3, (5, 2, 3))  # of pictures, draws and classes
ONE = SCORES[:, 0]
CODES = np.array([0, 2, 1, 1, 0])
INDICATOR = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_logarithms_are_those_of_the_probabilities(task):
    assert_allclose(np.exp(task.log_probabilities(SCORES)), task.probabilities(SCORES))


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_scores_have_the_probabilities_that_they_are_made_from(task):
    probabilities = task.probabilities(SCORES)
    assert_allclose(task.probabilities(task.scores(probabilities)), probabilities)


@pytest.mark.parametrize("task", TASKS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certain_probabilities_have_finite_scores(task, dtype):
    certain = np.array([[1, 0, 0]], dtype)
    scores = task.scores(certain)
    assert scores.dtype == dtype
    assert np.isfinite(scores).all()
    assert_allclose(task.probabilities(scores), certain, atol=1e-6)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_far_scores_have_finite_logarithms(task):
    far = np.array([[1000.0, -1000.0, -2000.0]])
    assert np.isfinite(task.log_probabilities(far)).all()
    assert np.isfinite(task.probabilities(-far)).all()


def test_one_label_by_softmax():
    assert_allclose(OneLabel().probabilities(SCORES), softmax(SCORES, axis=-1))


def test_one_label_against_the_rest_shares_out_its_sigmoids():
    sigmoids = expit(SCORES)
    expected = sigmoids / sigmoids.sum(axis=-1, keepdims=True)
    assert_allclose(OneLabel(one_vs_rest=True).probabilities(SCORES), expected)


def test_several_labels_have_probabilities_of_their_own():
    assert_allclose(SeveralLabels().probabilities(SCORES), expit(SCORES))


def test_one_label_is_the_most_likely():
    assert_array_equal(OneLabel().predictions(ONE), ONE.argmax(axis=1))


def test_several_labels_are_those_more_likely_than_not():
    predicted = SeveralLabels().predictions(ONE)
    assert_array_equal(predicted, expit(ONE) > 0.5)
    assert predicted.dtype.kind == "i"


def test_rows_are_right_by_code_and_by_the_largest_share():
    scores = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    assert OneLabel().right(scores, torch.tensor([0, 1])).tolist() == [True, False]
    shares = torch.tensor([[0.4, 0.6, 0.0], [0.0, 0.3, 0.7]])
    assert OneLabel().right(scores, shares).tolist() == [False, True]


def test_a_row_of_several_labels_is_right_if_all_are():
    scores = torch.tensor([[2.0, -1.0, 3.0], [2.0, 1.0, 3.0]])
    y = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert SeveralLabels().right(scores, y).tolist() == [True, False]


def test_log_loss_is_scikit_learns():
    weights = np.array([1.0, 2.0, 0.5, 0.0, 3.0])
    one, several = OneLabel(), SeveralLabels()
    expected = log_loss(CODES, one.probabilities(ONE), sample_weight=weights)
    assert one.log_loss(ONE, CODES, weights) == pytest.approx(expected)
    probabilities = several.probabilities(ONE)
    expected = np.mean(
        [
            log_loss(INDICATOR[:, label], probabilities[:, label], sample_weight=weights)
            for label in range(3)
        ]
    )
    assert several.log_loss(ONE, INDICATOR, weights) == pytest.approx(expected)

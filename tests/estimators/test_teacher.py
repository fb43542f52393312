"""A teacher's probabilities; what a student learns from them is tested in test_distillation.py."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.dummy import DummyClassifier

from sktransfer.estimators.teacher import check_teacher, softened_probabilities
from sktransfer.exceptions import ParameterError
from sktransfer.training.task import OneLabel, SeveralLabels

CLASSES = np.array(["ant", "bee"])
SHARES = np.array([[0.8, 0.2], [0.5, 0.5], [1.0, 0.0]])


def softened(shares, temperature, task=None):
    teacher = SimpleNamespace(predict_proba=lambda _: np.asarray(shares))
    return softened_probabilities(teacher, "X", (3, 2), task or OneLabel(), temperature)


def test_a_teacher_of_the_same_classes_is_taken():
    check_teacher(DummyClassifier().fit([[0], [1]], CLASSES), CLASSES)


def test_a_teacher_that_is_not_fitted_is_an_error():
    with pytest.raises(ParameterError, match=r"DummyClassifier is not fitted.*FrozenEstimator"):
        check_teacher(DummyClassifier(), CLASSES)


@pytest.mark.parametrize("known", [["bee", "ant"], ["ant"], ["ant", "bee", "cat"], [0, 1]])
def test_a_teacher_of_other_classes_is_an_error(known):
    with pytest.raises(ParameterError, match="distill_from knows the classes"):
        check_teacher(SimpleNamespace(classes_=np.array(known)), CLASSES)


@pytest.mark.parametrize("task", [OneLabel(), OneLabel(one_vs_rest=True), SeveralLabels()], ids=str)
def test_a_temperature_of_1_changes_nothing(task):
    assert_allclose(softened(SHARES, 1.0, task), SHARES, atol=1e-6)


@pytest.mark.parametrize("task", [OneLabel(), OneLabel(one_vs_rest=True)], ids=str)
def test_of_one_label_shares_are_softened_by_softmax(task):
    given = softened(SHARES, 2.0, task)
    assert_allclose(given.sum(axis=1), 1)
    # Half of the logarithm of the odds.
    assert_allclose(given[:2, 0] / given[:2, 1], [2.0, 1.0])


def test_several_labels_are_softened_each_by_itself():
    given = softened([[0.8, 0.8], [0.5, 0.2], [0.2, 0.5]], 2.0, SeveralLabels())
    assert_allclose(given / (1 - given), [[2, 2], [1, 0.5], [0.5, 1]])


@pytest.mark.parametrize(
    "shares", [np.ones((3, 3)) / 3, np.ones(3), np.full((3, 2), np.nan)], ids=["3", "1-D", "NaN"]
)
def test_other_probabilities_are_an_error(shares):
    with pytest.raises(ParameterError, match=r"finite probabilities of shape \(3, 2\)"):
        softened(shares, 1.0)

"""Weights of rows from what the user gave; their effect on a fit is tested in test_weights.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.estimators.labels import Labels
from sktransfer.estimators.row_weights import weights_of_rows
from sktransfer.exceptions import ParameterError, TrainingWarning

NAMES = np.array(["ant", "bee"])
ONE = Labels(NAMES, np.array([0, 0, 0, 1]))
SEVERAL = Labels(np.arange(2), np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float32))


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
def test_rows_weigh_1_unless_told(labels):
    assert_array_equal(weights_of_rows(labels, None, None), np.ones(4))


def test_class_weights_multiply_sample_weights():
    weights = weights_of_rows(ONE, [1, 2, 0, 4], {"ant": 1.0, "bee": 0.5})
    assert_allclose(weights, [1, 2, 0, 2])


def test_balanced_classes_weigh_the_same():
    weights = weights_of_rows(ONE, [1, 2, 1, 4], "balanced")
    assert weights[:3].sum() == pytest.approx(weights[3])


def test_with_several_labels_class_weights_leave_rows_alone():
    assert_array_equal(weights_of_rows(SEVERAL, [1, 2, 3, 4], {0: 9.0}), [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("sample_weight", "told"),
    [
        ([1, -1, 1, 1], "Negative"),
        ([1, np.nan, 1, 1], "NaN"),
        ([1, 1], "sample_weight"),
        ([1, 1e39, 1, 1], r"at most 3\.4e\+38; got 1e\+39"),
    ],
    ids=str,
)
@pytest.mark.parametrize("labels", [ONE, SEVERAL])
def test_weights_that_can_not_be_used_are_errors(labels, sample_weight, told):
    with pytest.raises(ValueError, match=told):
        weights_of_rows(labels, sample_weight, None)


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
def test_class_weights_that_can_not_be_used_are_errors(labels):
    with pytest.raises(ParameterError, match="class_weight"):
        weights_of_rows(labels, None, {0: -1.0})


def test_a_class_without_weight_is_told_unless_other_rows_follow():
    with pytest.warns(TrainingWarning, match="'bee'"):
        weights_of_rows(ONE, [1, 1, 1, 0], None)
    weights_of_rows(ONE, [1, 1, 1, 0], None, all_classes=False)


def test_a_label_that_is_always_there_is_an_error_unless_other_rows_follow():
    with pytest.raises(ParameterError, match=r"Columns \[0\]"):
        weights_of_rows(SEVERAL, [1, 0, 1, 0], None)
    assert_array_equal(
        weights_of_rows(SEVERAL, [1, 0, 1, 0], None, all_classes=False), [1, 0, 1, 0]
    )


def test_without_any_weight_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="nothing to learn"):
        weights_of_rows(ONE, None, {"ant": 0.0, "bee": 0.0}, all_classes=False)

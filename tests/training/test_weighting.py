import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.utils.class_weight import compute_class_weight

from sktransfer.training.weighting import row_weights

CLASSES = np.array(["a", "b"])
CODES = np.array([0, 0, 0, 1])


def test_mean_is_1():
    weights = row_weights(CODES, CLASSES, {"a": 3.0, "b": 8.0}, np.array([1.0, 2, 3, 4]))
    assert_allclose(weights.mean(), 1)
    assert_allclose(weights / weights[0], np.array([3, 6, 9, 32]) / 3)


def test_balanced_is_scikit_learns_for_unit_weights():
    ours = row_weights(CODES, CLASSES, "balanced", None)
    theirs = compute_class_weight("balanced", classes=np.array([0, 1]), y=CODES)[CODES]
    assert_allclose(ours, theirs / theirs.mean())


def test_balanced_counts_weight_0_as_absent():
    weights = row_weights(CODES, CLASSES, "balanced", np.array([1.0, 0, 0, 1]))
    assert_allclose(weights, [2, 0, 0, 2])


def test_labels_that_a_dict_leaves_out_count_1():
    weights = row_weights(CODES, CLASSES, {"a": 2.0}, None)
    assert_allclose(weights / weights[3], [2, 2, 2, 1])


def test_a_class_without_weight_is_named():
    with pytest.raises(ValueError, match=r"class \['b'\]"):
        row_weights(CODES, CLASSES, None, np.array([1.0, 1, 1, 0]))

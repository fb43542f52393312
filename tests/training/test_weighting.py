import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.utils.class_weight import compute_class_weight

from sktransfer.exceptions import ParameterError, TrainingWarning
from sktransfer.training.losses import Targets
from sktransfer.training.weighting import check_class_weight, positive_weights, row_weights
from tests.training.helpers import row_loss

CLASSES = np.array(["a", "b"])
CODES = np.array([0, 0, 0, 1])
INDICATOR = torch.tensor([[1.0, 0], [1, 1], [1, 0], [0, 0]])


def weights_of_labels(class_weight, weights=(1.0, 1.0, 1.0, 1.0)):
    return positive_weights(INDICATOR.numpy(), np.array(weights), class_weight)


def test_weights_of_classes_and_rows_are_multiplied():
    weights = row_weights(CODES, CLASSES, {"a": 3.0, "b": 8.0}, np.array([1.0, 2, 3, 4]))
    assert_allclose(weights, [3, 6, 9, 32])


def test_balanced_is_scikit_learns_for_unit_weights():
    ours = row_weights(CODES, CLASSES, "balanced", None)
    theirs = compute_class_weight("balanced", classes=np.array([0, 1]), y=CODES)[CODES]
    assert_allclose(ours, theirs)


def test_balanced_counts_weight_0_as_absent():
    weights = row_weights(CODES, CLASSES, "balanced", np.array([1.0, 0, 0, 1]))
    assert_allclose(weights, [1, 0, 0, 1])


def test_labels_that_a_dict_leaves_out_count_1():
    weights = row_weights(CODES, CLASSES, {"a": 2.0}, None)
    assert_allclose(weights / weights[3], [2, 2, 2, 1])


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 3.0, "b": 5.0}, {"b": 2.0}])
def test_a_class_without_weight_is_named_and_the_others_go_on(class_weight):
    with pytest.warns(TrainingWarning, match=r"\['b'\].*weight"):
        weights = row_weights(CODES, CLASSES, class_weight, np.array([1.0, 1, 1, 0]))
    assert_allclose(weights / weights[0], [1, 1, 1, 0])


def test_a_class_may_have_a_weight_and_no_rows():
    weights = row_weights(CODES, CLASSES, {"a": 1.0, "b": 1.0, "c": 5.0}, None)
    assert_allclose(weights, np.ones(4))


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 3.0}])
def test_a_piece_of_the_rows_may_lack_a_class(class_weight):
    codes = np.zeros(3, np.int64)
    weights = row_weights(codes, CLASSES, class_weight, np.array([1.0, 2, 3]), all_classes=False)
    assert_allclose(weights / weights[0], [1, 2, 3])


@pytest.mark.parametrize("all_classes", [True, False])
def test_some_rows_must_have_weight(all_classes):
    with pytest.raises(ValueError, match="nothing to learn from"):
        row_weights(CODES, CLASSES, None, np.zeros(4), all_classes=all_classes)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, 1e300, "2", None])
@pytest.mark.parametrize("n_columns", [None, 2])
def test_class_weights_are_finite_and_not_negative(weight, n_columns):
    with pytest.raises(ParameterError, match=r"class_weight must give finite numbers .*at least 0"):
        check_class_weight({0: weight, 1: 1.0}, n_columns)


@pytest.mark.parametrize("given", [None, "balanced", {0: 0, 1: np.float32(2), "a": np.int64(3)}])
def test_class_weights_of_any_kind_of_number_pass(given):
    check_class_weight(given)


def test_without_class_weights_presence_counts_as_absence():
    assert weights_of_labels(None) is None


def test_balanced_presence_counts_as_much_as_absence():
    weights = weights_of_labels("balanced")
    assert weights == pytest.approx([1 / 3, 3])
    weights = weights_of_labels("balanced", [1.0, 2.0, 0.0, 4.0])
    assert weights == pytest.approx([4 / 3, 5 / 2])


def test_a_label_that_is_never_there_has_no_presence_to_weigh():
    targets = Targets(torch.tensor([[1.0, 0], [0, 0]]), torch.ones(2))
    weights = positive_weights(targets.y.numpy(), targets.weights.numpy(), "balanced")
    assert weights == [1, 1]
    loss = row_loss(
        "binary_cross_entropy", multilabel=True, positive_weight=weights, label_smoothing=0.1
    )
    assert loss(torch.zeros(2, 2), targets).max() < 2


def test_labels_by_number_of_their_column():
    assert weights_of_labels({1: 5}) == [1.0, 5.0]


@pytest.mark.parametrize("class_weight", [{2: 1.0}, {"a": 1.0}, {0: -1.0}])
def test_columns_that_are_not_there_and_negative_weights_are_told(class_weight):
    with pytest.raises(ParameterError, match="number of a column of y, 0 to 1"):
        check_class_weight(class_weight, 2)

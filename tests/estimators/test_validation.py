"""Which rows train and which validate."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GroupShuffleSplit, PredefinedSplit, ShuffleSplit

from sktransfer.estimators.labels import Labels
from sktransfer.estimators.validation import split_rows
from sktransfer.exceptions import ParameterError

ONE = Labels(np.array(["ant", "bee"]), np.arange(20) % 2)
SEVERAL = Labels(np.arange(2), np.array([[1, 0], [0, 1]] * 10, np.float32))
ONES = np.ones(20)


def split(validation_fraction, labels=ONE, weights=ONES, groups=None, seed=0):
    return split_rows(validation_fraction, labels, weights, groups, seed)


def held_out(*rows):
    """A splitter that holds these rows out."""
    return PredefinedSplit(np.where(np.isin(np.arange(20), rows), 0, -1))


def test_all_rows_train_unless_told():
    train, validation = split(None)
    assert_array_equal(train, np.arange(20))
    assert validation is None


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
@pytest.mark.parametrize(
    "fraction", [0.3, np.float32(0.3), ShuffleSplit(1, random_state=0)], ids=str
)
def test_each_row_trains_or_validates(labels, fraction):
    train, validation = split(fraction, labels)
    assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(20))
    for part in (train, validation):
        assert_array_equal(part, np.sort(part))


def test_a_fraction_is_drawn_by_class():
    _, validation = split(0.4)
    assert np.bincount(ONE.y[validation]).tolist() == [4, 4]


def test_a_fraction_is_drawn_from_the_seed():
    first, again, other = (split(0.3, seed=seed).held_out for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [None, 0.3, held_out(*range(0, 20, 3))], ids=str)
def test_rows_without_weight_are_in_no_part(fraction):
    weights = np.where(np.arange(20) < 4, 0.0, 1.0)
    for part in split(fraction, weights=weights):
        assert part is None or part.min() >= 4


def test_a_splitter_keeps_groups_together():
    groups = np.arange(20) // 4
    train, validation = split(GroupShuffleSplit(1, random_state=0), groups=groups)
    assert not set(groups[train]) & set(groups[validation])


def test_groups_of_another_length_are_an_error():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        split(GroupShuffleSplit(1), groups=[1, 2])


def test_a_fraction_too_small_for_all_classes_is_an_error():
    with pytest.raises(ValueError, match=r"validation_fraction=0\.05 can't hold out rows of every"):
        split(0.05)


@pytest.mark.parametrize(
    ("labels", "told"), [(ONE, r"rows of the classes \['ant'\]"), (SEVERAL, r"labels \[0, 1\]")]
)
def test_a_class_that_is_held_out_altogether_is_an_error(labels, told):
    with pytest.raises(ParameterError, match=told):
        split(held_out(*range(0, 20, 2)), labels)


def test_a_class_that_no_row_teaches_is_not_the_splits_fault():
    weights = np.where(ONE.y == 0, 0.0, 1.0)
    train, validation = split(held_out(1, 3, 4), weights=weights)
    assert_array_equal(validation, [1, 3])
    assert not set(train) & set(validation)


def test_held_out_rows_without_weight_are_an_error():
    weights = np.where(np.arange(20) < 4, 0.0, 1.0)
    with pytest.raises(ParameterError, match="only rows of weight 0"):
        split(held_out(0, 1, 2), weights=weights)

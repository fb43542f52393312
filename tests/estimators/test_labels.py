import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.exceptions import DataConversionWarning

from sktransfer.estimators.labels import Labels, check_columns, encoded
from sktransfer.exceptions import ParameterError

INDICATOR = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "y", [[["a"], ["b", "c"]], [("a", "b"), ("b", "c")], [{"a"}, set()], [[0], [1, 2]]], ids=str
)
def test_lists_of_labels_are_told_with_the_indicator_that_is_needed(y):
    with pytest.raises(ValueError, match="MultiLabelBinarizer"):
        encoded(y, 2, "The test")


def test_an_indicator_in_lists_is_one():
    assert encoded([[1, 0], [0, 1], [1, 1]], 3, "The test").multilabel


def learned(y, n_rows=None):
    return Labels.learned(y, len(y) if n_rows is None else n_rows, "Who")


def known(y, classes, *, multilabel=False, n_rows=None):
    n_rows = len(y) if n_rows is None else n_rows
    return Labels.known(y, n_rows, np.asarray(classes), multilabel=multilabel)


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "b"], [7, -2, 7], [True, False, True], np.array(["b", "a", "b"], object)],
    ids=["strings", "numbers", "bools", "objects"],
)
@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pa.array])
def test_labels_are_sorted_and_numbered(labels, kind):
    got = learned(kind(labels))
    assert_array_equal(got.classes, np.unique(labels))
    assert got.y.dtype == np.int64
    assert got.y.tolist() == [1, 0, 1]
    assert not got.multilabel


@pytest.mark.parametrize(
    "kind",
    [np.array, csr_matrix, csr_array, np.ndarray.tolist, pd.DataFrame, lambda y: y.astype(float)],
    ids=["array", "matrix", "sparse array", "lists", "frame", "floats"],
)
def test_an_indicator_in_any_form(kind):
    got = learned(kind(INDICATOR), 4)
    assert got.multilabel
    assert_array_equal(got.classes, [0, 1, 2])
    assert got.y.dtype == np.float32
    assert_array_equal(got.y, INDICATOR)
    again = known(kind(INDICATOR), range(3), multilabel=True, n_rows=4)
    assert_array_equal(again.y, INDICATOR)


def test_bools_make_an_indicator():
    assert_array_equal(learned(INDICATOR.astype(bool)).y, INDICATOR)


def test_a_column_is_a_vector_on_its_side():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        got = learned(np.array([["a"], ["b"], ["a"]]))
    assert got.y.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "Who requires y"),
        (["a", "a"], "one class only, 'a'"),
        ([0.5, 1.5], "Unknown label type"),
        ([0.0, np.nan], "NaN"),
        ([0.0, np.inf], "infinity"),
        (np.array(["a", None], object), "NaN or None, first in row 1"),
        (np.array([float("nan"), "a"], object), "NaN or None, first in row 0"),
        (["a", pd.NA], "NaN or None, first in row 1"),
        ([pd.NA, 1], "NaN or None, first in row 0"),
        (pd.Series(["a", pd.NA], dtype="string"), "NaN or None, first in row 1"),
        (pa.array(["a", None]), "NaN or None, first in row 1"),
        (np.array([[0, 2], [1, 0]]), "1d array"),
        (np.array([[0.5, 1], [1, 0]]), "1d array"),
        (np.zeros((2, 2, 2)), "dim 3"),
        (np.array([[0, 2], [2, 0]]), r"must be an indicator.*shape \(2, 2\)"),
        (np.array([[-1, 1], [1, 1]]), "must be an indicator"),
    ],
)
def test_what_is_no_y_is_an_error(y, words):
    with pytest.raises(ValueError, match=words):
        learned(y, 2)


@pytest.mark.parametrize("y", [["a", "b", "a"], INDICATOR, csr_matrix(INDICATOR)])
def test_length_is_checked(y):
    with pytest.raises(ValueError, match="inconsistent"):
        learned(y, 7)


def test_known_classes_number_new_labels():
    assert known(["c", "a", "c"], ["a", "b", "c"]).y.tolist() == [2, 0, 2]
    assert known(["a"], ["a", "b", "c"]).classes.tolist() == ["a", "b", "c"]


def test_one_known_class_is_an_error():
    with pytest.raises(ValueError, match="one class only"):
        known(["a"], ["a"])


@pytest.mark.parametrize(
    ("y", "classes", "unknown"),
    [
        (["a", "z", "x"], ["a", "b"], r"\['x', 'z'\].*\['a', 'b'\]"),
        (["aa", "a"], ["a", "b"], r"\['aa'\]"),
        ([5, 1], [1, 2], r"\[5\].*\[1, 2\]"),
        ([-1, 1], [1, 2], r"\[-1\]"),
        ([1.5, 1], [1, 2], r"\[1\.5\]"),
        ([1, 2], ["1", "2"], r"\[1, 2\].*\['1', '2'\]"),
        (["1", "2"], [1, 2], r"\['1', '2'\].*\[1, 2\]"),
        (np.array(["a", 1], object), [1, 2], r"'a'"),
    ],
)
def test_other_classes_than_known_are_an_error(y, classes, unknown):
    with pytest.raises(ValueError, match=f"y holds.*{unknown}"):
        known(y, classes)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (INDICATOR[:, :2], "2 columns.*knows 3"),
        ([0, 1, 1, 0], "indicator"),
        (INDICATOR * 2, "indicator"),
        (INDICATOR / 2, "indicator"),
        (np.where(INDICATOR, np.nan, 0), "indicator|NaN"),
        (INDICATOR.astype(str), "indicator"),
    ],
    ids=["columns", "labels", "twos", "halves", "nan", "strings"],
)
def test_what_does_not_fit_a_known_indicator_is_an_error(y, words):
    with pytest.raises(ValueError, match=words):
        known(y, range(3), multilabel=True)


def test_an_indicator_where_one_label_is_known_is_an_error():
    with pytest.raises(ValueError, match="1d array"):
        known(INDICATOR, [0, 1])


@pytest.mark.parametrize("value", [0, 1])
def test_columns_that_are_the_same_everywhere_are_named(value):
    y = INDICATOR.copy()
    y[:, [0, 2]] = value
    with pytest.raises(ParameterError, match=r"Columns \[0, 2\] of y are the same"):
        check_columns(learned(y), np.ones(4))
    check_columns(learned(INDICATOR), np.ones(4))


def test_rows_of_weight_0_do_not_make_a_column_differ():
    with pytest.raises(ParameterError, match=r"Columns \[0\] of y are the same"):
        check_columns(learned(INDICATOR), np.array([0.0, 1, 0, 1]))


def test_one_constant_column_in_a_row_of_ones_is_still_an_indicator():
    assert learned(np.ones((3, 2), int)).multilabel


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_labels_in_a_list_are_no_label(missing):
    """NumPy would make the label "nan" of it."""
    with pytest.raises(ValueError, match="NaN or None, first in row 1 of y"):
        encoded(["a", missing, "b"], 3, "A test")

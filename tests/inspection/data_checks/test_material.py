import numpy as np
import pandas as pd
import pytest

from sktransfer.inspection.data_checks.findings import NotMade
from sktransfer.inspection.data_checks.material import is_blank, labels_of
from tests.inspection.data_checks.helpers import make_material


def test_findings_tell_rows_of_both_parts():
    found = make_material(3, n_test=2).finding("blank", "note", [4, 2, 0], "m", "a", 0.5)
    assert (found.rows, found.test_rows, found.score) == ((0, 2), (1,), 0.5)


def test_unreadable_and_blank_pictures_are_not_compared():
    material = make_material(4, error=[None, "damaged", None, None], spread=[9.0, 0, 0.5, 9.0])
    assert material.seen == [0, 3]
    assert is_blank(0.5)
    assert not is_blank(9.0)


def test_equal_pictures_are_put_together():
    assert make_material(4, digest=[b"a", b"b", b"a", b"c"]).equal == [[0, 2], [1], [3]]


def test_pictures_without_features_are_not_described():
    features = np.ones((4, 2))
    features[2, 1] = np.nan
    assert make_material(4, features=features).described == [0, 1, 3]


def test_equal_pictures_are_compared_by_any_that_has_features():
    features = np.eye(3)
    features[0] = np.nan
    assert make_material(3, features=features, digest=[b"a", b"a", b"b"]).near.equal == [
        [0, 1],
        [2],
    ]


def test_why_a_check_is_not_made():
    with pytest.raises(NotMade, match="there is no network"):
        _ = make_material(2).described
    with pytest.raises(NotMade, match="none can be read"):
        _ = make_material(2, features=np.ones((2, 2)), error="damaged").described
    with pytest.raises(NotMade, match="y was not given"):
        make_material(2).any_labels()
    with pytest.raises(NotMade, match="one class"):
        make_material(2, y=["a", "a"]).one_label_each()
    with pytest.raises(NotMade, match="several"):
        make_material(2, y=[[0, 1], [1, 1]]).one_label_each()
    with pytest.raises(NotMade, match="X_test"):
        make_material(2).need_test_rows()


def test_units_have_length_1_and_zeros_stay():
    units = make_material(2, features=[[3, 4], [0, 0]]).units([0, 1])
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a"],
        np.array([7, -1]),
        [True, False],
        pd.Series(["b", "a"], dtype=object),
        pd.Series(["b", "a"], dtype="category"),
        pd.Series([7, -1], dtype="Int64"),
        pd.Series([True, False], dtype="boolean"),
    ],
)
def test_labels_are_shown_as_they_were_given(y):
    material = make_material(2, y=y)
    assert [material.label_of(i) for i in (0, 1)] == list(y)
    assert type(material.label_of(0)) in (str, int, bool)


def test_several_labels_are_shown_as_columns():
    assert make_material(2, y=[[0, 1, 1], [1, 0, 0]]).label_of(0) == [1, 2]


@pytest.mark.parametrize("y", [["a"] * 3, [0] * 3, [True] * 3, [1.0] * 3])
def test_one_class_is_no_error(y):
    assert labels_of(y, 3).classes.tolist() == [y[0]]
    assert labels_of(pd.DataFrame({"y": y}), 3).classes.tolist() == [y[0]]
    assert labels_of(np.array(y)[:, None], 3).classes.tolist() == [y[0]]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], "inconsistent numbers of samples"),
        (["a", "a"], "inconsistent numbers of samples|one class"),
        (["a", None, "b"], "NaN or None"),
        ([None] * 3, "NaN or None|one class"),
        ([np.nan] * 3, "NaN"),
        (pd.Series([pd.NA] * 3, dtype="Int64"), "NaN"),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), "NaN"),
        ([1.5, 1.5, 1.5], "continuous|one class"),
        ([0.1, 0.2, 0.3], "continuous"),
    ],
)
def test_malformed_labels_raise(y, message):
    with pytest.raises(ValueError, match=message):
        labels_of(y, 3)

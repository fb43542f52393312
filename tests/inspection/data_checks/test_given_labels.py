import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from sktransfer.inspection.data_checks.given_labels import given_labels


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([[2], [1]]), np.array([2, 1])),
        (pd.Series([2, 1], dtype="Int64"), np.array([2, 1])),
        (pd.DataFrame({"y": pd.Series([2, 1], dtype="Int64")}), np.array([2, 1])),
        (pd.Series([True, False], dtype="boolean"), np.array([True, False])),
        (pd.Series(["b", "a"], dtype="string"), np.array(["b", "a"], dtype=object)),
        (pd.Series(["b", 1], dtype="category"), np.array(["b", 1], dtype=object)),
        (np.zeros((0, 1), int), np.zeros(0, int)),
    ],
)
def test_one_label_for_each_picture_is_a_vector(y, expected):
    found = given_labels(y)
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("y", [["a", "b"], [["a"], ["b"]], np.eye(2), csr_array(np.eye(2)), None])
def test_all_else_stays_as_it_is(y):
    assert given_labels(y) is y


def test_older_pandas_gives_objects():
    class OldSeries:
        shape, dtype = (2,), pd.Int64Dtype()

        def __array__(self, dtype=None, copy=None):
            return np.array([2, 1], dtype=object)

    assert given_labels(OldSeries()).dtype == np.int64

import numpy as np
import pytest

from sktransfer.inspection.data_checks.association import association, is_clear

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 4, 400)


def test_a_property_that_is_the_label_removes_nearly_all_uncertainty():
    found = association([f"v{code}" for code in Y], Y)
    assert 0.95 < found.share <= 1
    assert is_clear(found, 0.1)


@pytest.mark.parametrize("n_values", [1, 2, 20, 200, 400])
def test_a_property_that_tells_nothing_is_not_clear(n_values):
    values = [str(v) for v in np.random.default_rng(1).integers(0, n_values, 400)]
    found = association(values, Y)
    assert found.share < 0.01
    assert not is_clear(found, 0.1)


def test_a_value_for_each_row_tells_nothing():
    """The plain mutual information would be all of the entropy."""
    assert abs(association([str(i) for i in range(400)], Y).share) < 0.01


def test_the_value_that_tells_most_is_named():
    values = ["odd" if code == 2 and i % 2 else None for i, code in enumerate(Y)]
    found = association(values, Y)
    assert (found.value, found.code) == ("odd", 2)
    assert 0.1 < found.share < 0.9


def test_missing_values_are_a_value():
    values = [None if code == 2 else "there" for code in Y]
    assert association(values, Y).value is None
    assert is_clear(association(values, Y), 0.1)


def test_a_few_rows_are_not_clear():
    found = association(["a", "a", "b"], np.array([0, 0, 1]))
    assert np.isfinite(found.share)
    assert not is_clear(found, 0.1)

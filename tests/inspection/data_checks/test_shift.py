import pytest

from sktransfer.inspection.data_checks.findings import NotMade
from sktransfer.inspection.data_checks.shift import find_shift
from tests.inspection.data_checks.helpers import make_material


def test_another_camera_in_the_test_set_is_found():
    [found] = find_shift(make_material(30, n_test=20, camera=["a"] * 30 + ["b"] * 18 + ["a"] * 2))
    assert (found.kind, found.severity) == ("shift", "note")
    assert "pictures with 'b' are 0% of X and 90% of X_test" in found.message


def test_parts_of_one_set_do_not_differ():
    sizes = [(100 + i % 7, 80) for i in range(50)]
    assert find_shift(make_material(30, n_test=20, size=sizes)) == []


def test_why_it_is_not_made():
    with pytest.raises(NotMade, match="X_test was not given"):
        find_shift(make_material(3))
    with pytest.raises(NotMade, match="none of X_test"):
        find_shift(make_material(2, n_test=1, error=[None, None, "damaged"]))

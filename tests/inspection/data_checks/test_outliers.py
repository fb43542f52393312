import numpy as np
import pytest

from sktransfer.inspection.data_checks.findings import NotMade
from sktransfer.inspection.data_checks.outliers import find_outliers
from tests.inspection.data_checks.helpers import make_material, separable


def features(n=60):
    return separable(np.arange(n) % 3)


def test_a_picture_unlike_all_others_is_found():
    planted = features()
    planted[[7, 8]] = [[0] * 6 + [-5, 0], [0] * 6 + [0, -5]]
    found = find_outliers(make_material(60, features=planted))
    assert {each.rows for each in found[:2]} == {(7,), (8,)}
    assert len(found) <= 4
    assert all(each.severity == "note" for each in found)
    assert found[0].score >= found[1].score > 1.5


def test_usual_pictures_are_not_found():
    even = np.random.default_rng(0).normal(size=(200, 8))
    assert len(find_outliers(make_material(200, features=even))) <= 4


def test_copies_of_one_picture_do_not_tell_what_is_usual():
    same = np.ones((40, 4))
    same[5, 3] = 1.2
    with pytest.raises(NotMade, match="the same features"):
        find_outliers(make_material(40, features=same))


def test_few_pictures_are_not_enough():
    with pytest.raises(NotMade, match="needs 30 pictures"):
        find_outliers(make_material(20, features=features(20)))

from sktransfer.inspection.data_checks.odd_pictures import find_odd_pictures
from tests.inspection.data_checks.helpers import make_material


def found(sizes, **more):
    material = make_material(len(sizes), size=list(sizes), **more)
    return [(each.kind, each.rows) for each in find_odd_pictures(material)]


def test_usual_pictures_are_not_odd():
    assert found([(400, 300), (300, 400), (640, 480)]) == []


def test_blank_pictures():
    assert found([(400, 300)] * 3, spread=[50.0, 0.4, 50.0]) == [("blank", (1,))]


def test_tiny_pictures():
    assert found([(400, 300)] * 9 + [(60, 50)]) == [("tiny", (9,))]


def test_in_a_set_of_small_pictures_none_is_tiny_unless_it_is_far_smaller():
    assert found([(32, 32)] * 10) == []
    assert found([(8, 8)] * 10) == []
    assert found([(32, 32)] * 9 + [(7, 7)]) == [("tiny", (9,))]


def test_pictures_of_extreme_shape():
    assert found([(400, 300)] * 9 + [(1000, 200)]) == [("extreme_aspect", (9,))]
    assert found([(400, 300)] * 9 + [(150, 900)]) == [("extreme_aspect", (9,))]


def test_in_a_set_of_panoramas_they_are_usual():
    assert found([(1000, 200)] * 10) == []
    assert found([(1000, 200)] * 9 + [(3000, 200)]) == [("extreme_aspect", (9,))]


def test_pictures_of_one_pixel_are_blank():
    assert found([(1, 1)] * 2, spread=0.0) == [("blank", (0,)), ("blank", (1,))]


def test_pictures_that_cannot_be_read_are_left_out():
    assert found([(0, 0)] * 2, spread=0.0, error="damaged") == []

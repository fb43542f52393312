import pytest

from sktransfer.inspection.data_checks.class_sizes import find_class_sizes
from sktransfer.inspection.data_checks.findings import NotMade
from tests.inspection.data_checks.helpers import make_material


def found(y, **more):
    return find_class_sizes(make_material(len(y), y, **more))


def told(y, **more):
    return [(each.kind, each.severity, each.score) for each in found(y, **more)]


def test_classes_of_enough_pictures():
    assert told(["a"] * 12 + ["b"] * 20) == []


def test_small_classes():
    y = ["a"] * 12 + ["b"] * 7 + ["c"] * 4 + ["d"]
    assert told(y)[:3] == [
        ("small_class", "note", 7),
        ("small_class", "warning", 4),
        ("small_class", "warning", 1),
    ]
    assert found(y)[2].rows == (23,)
    assert "'d' has 1 readable picture:" in found(y)[2].message


def test_classes_of_very_different_sizes():
    [imbalance] = found([5] * 60 + [7] * 12)
    assert (imbalance.kind, imbalance.severity, imbalance.score) == ("imbalance", "note", 5)
    assert "always says 5 is right for 83% of them" in imbalance.message


def test_only_readable_pictures_count():
    y = ["a"] * 12 + ["b"] * 12
    assert told(y, error=[None] * 14 + ["damaged"] * 10)[0] == ("small_class", "warning", 2)


def test_no_readable_picture():
    assert told(["a", "b"], error="damaged") == [("small_class", "warning", 0)] * 2


def test_a_single_class():
    assert [each.kind for each in found([True] * 4)] == ["single_class"]


def test_several_labels():
    y = [[1, 1, 0]] * 12 + [[0, 1, 0]] * 12
    assert [each.message[:40] for each in found(y)] == [
        "The absence of label 1 (column of y) has",
        "Label 2 (column of y) has 0 readable pic",
    ]


def test_labels_are_needed():
    with pytest.raises(NotMade):
        find_class_sizes(make_material(3))

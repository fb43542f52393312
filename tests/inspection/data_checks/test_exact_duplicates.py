from sktransfer.inspection.data_checks.exact_duplicates import find_exact_duplicates
from tests.inspection.data_checks.helpers import make_material


def test_each_group_of_equal_pictures_is_a_finding():
    material = make_material(6, digest=[b"a", b"b", b"a", b"c", b"b", b"a"])
    assert [each.rows for each in find_exact_duplicates(material)] == [(0, 2, 5), (1, 4)]


def test_plain_and_unreadable_pictures_are_no_copies_of_each_other():
    equal = {"digest": b"a"}
    assert find_exact_duplicates(make_material(3, spread=0.0, is_plain=True, **equal)) == []
    assert find_exact_duplicates(make_material(3, error="damaged", **equal)) == []


def test_features_are_not_needed():
    assert len(find_exact_duplicates(make_material(2, digest=b"a"))) == 1


def test_pictures_that_only_seem_blank_are_compared():
    [found] = find_exact_duplicates(make_material(3, spread=1.0, digest=b"a"))
    assert found.rows == (0, 1, 2)

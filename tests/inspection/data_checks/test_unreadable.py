from sktransfer.inspection.data_checks.unreadable import find_unreadable
from tests.inspection.data_checks.helpers import make_material


def test_each_picture_that_cannot_be_read_is_a_finding():
    material = make_material(3, n_test=1, error=["damaged", None, None, "missing"])
    first, second = find_unreadable(material)
    assert (first.rows, first.test_rows, first.severity) == ((0,), (), "error")
    assert (second.rows, second.test_rows) == ((), (0,))
    assert first.message == "folder/0.jpg: damaged"


def test_no_finding_where_all_can_be_read():
    assert find_unreadable(make_material(3)) == []

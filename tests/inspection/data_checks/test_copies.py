import pytest

from sktransfer.inspection.data_checks.copies import EXACT, NEAR, findings_of_copies
from tests.inspection.data_checks.helpers import make_material

Y = ["ant", "ant", "bee"]


def found(positions, likeness=EXACT, y=Y):
    material = make_material(3, y, n_test=2)
    return [(f.kind, f.severity) for f in findings_of_copies(material, positions, likeness)]


@pytest.mark.parametrize(
    ("positions", "exact", "near"),
    [
        ([0, 1], [("exact_duplicate", "warning")], [("near_duplicate", "note")]),
        ([0, 2], [("label_conflict", "error")], [("label_conflict", "warning")]),
        ([0, 1, 4], [("leakage", "error")], [("leakage", "warning")]),
        ([3, 4], [("exact_duplicate", "warning")], [("near_duplicate", "note")]),
        (
            [0, 2, 3],
            [("label_conflict", "error"), ("leakage", "error")],
            [("label_conflict", "warning"), ("leakage", "warning")],
        ),
    ],
)
def test_the_kind_depends_on_labels_and_parts(positions, exact, near):
    assert found(positions) == exact
    assert found(positions, NEAR) == near


def test_without_labels_there_is_no_conflict():
    assert found([0, 2], y=None) == [("exact_duplicate", "warning")]


def test_several_labels_conflict_too():
    several = [[0, 1], [0, 1], [1, 1]]
    assert found([0, 1], y=several) == [("exact_duplicate", "warning")]
    assert found([0, 2], y=several) == [("label_conflict", "error")]


def test_the_message_names_pictures_and_labels():
    material = make_material(3, Y, n_test=2)
    [conflict] = findings_of_copies(material, [0, 2], EXACT)
    assert conflict.message == (
        "folder/0.jpg ('ant') and folder/2.jpg ('bee') are the same picture."
    )
    [leak] = findings_of_copies(material, [1, 4], NEAR, 0.9)
    assert leak.message == (
        "folder/1.jpg ('ant') and folder/4.jpg (X_test) are nearly the same picture."
    )
    assert (leak.rows, leak.test_rows, leak.score) == ((1,), (1,), 0.9)

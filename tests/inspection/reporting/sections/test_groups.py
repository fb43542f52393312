import numpy as np

from sktransfer import group_metrics
from sktransfer.inspection.reporting.blocks import Plot, Table, Text
from sktransfer.inspection.reporting.sections.groups import section
from tests.inspection.reporting.materials import EXPECTED, SURE, TRUE, told, usual

GROUPS = np.array(["left"] * 6 + ["right"] * 6)


def test_without_groups_there_is_no_section():
    assert section(usual()) is None


def test_the_table_is_that_of_group_metrics():
    comparison, plot, table, *notes = section(usual(groups=GROUPS)).blocks
    expected = group_metrics(TRUE, EXPECTED, GROUPS)
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    assert table.columns == ["metric", "left*", "right*", "all", "difference", "ratio"]
    assert table.rows[0][:4] == ["test pictures", 6, 6, 12]
    assert table.rows[1][:4] == ["accuracy", *expected.values[:, 0], expected.overall[0]]
    assert "Fewer than two groups" in comparison.text
    assert "Too few rows" in notes[0].text


def test_groups_that_lie_apart_are_a_warning():
    true = np.array(["ant", "bee"] * 40)
    sure = np.array([[0.9, 0.1], [0.1, 0.9]] * 20 + [[0.1, 0.9], [0.9, 0.1]] * 20)
    groups = ["good"] * 40 + ["bad"] * 40
    comparison = section(told(sure, true, classes=("ant", "bee"), groups=groups)).blocks[0]
    assert isinstance(comparison, Text)
    assert comparison.is_warning
    assert "lowest for bad (0.000) and highest for good (1.000)" in comparison.text


def test_groups_that_do_not_lie_apart_are_none():
    material = told(np.tile(SURE, (10, 1)), np.tile(EXPECTED, 10), groups=["a", "b"] * 60)
    assert not section(material).blocks[0].is_warning

import numpy as np
import pytest

from sktransfer.inspection.reporting.sections.thresholds import section
from tests.inspection.reporting.materials import told, usual

OF_BEE = np.array([0.1, 0.3, 0.6, 0.9])
TRUE = ["ant", "bee", "ant", "bee"]


def test_each_threshold_has_its_figures():
    found = section(told(np.stack([1 - OF_BEE, OF_BEE], 1), TRUE, classes=("ant", "bee")))
    rows = {row[0]: row[1:] for row in found.blocks[0].rows}
    assert rows["0.5"] == pytest.approx([2, 0.5, 0.5, 0.5, 0.5])
    assert rows["0.2"] == pytest.approx([3, 2 / 3, 1, 0.5, 0.75])
    assert rows["0.95"] == [0, None, 0.0, 0.0, 0.5]


def test_only_for_two_classes_with_probabilities():
    assert section(usual()) is None
    two = np.stack([1 - OF_BEE, OF_BEE], 1)
    assert section(told(two, TRUE, classes=("ant", "bee"), has_probabilities=False)) is None

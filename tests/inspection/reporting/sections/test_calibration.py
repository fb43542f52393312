import numpy as np
import pytest

from sktransfer.inspection.reporting.sections.calibration import binned, section
from tests.inspection.reporting.materials import told, usual


def test_bins_hold_means_and_shares():
    confidence = np.array([0.05, 0.95, 0.97, 1.0])
    bins = binned(confidence, np.array([False, True, False, True]))
    assert len(bins) == 2
    assert bins[0][:3] == (0.05, 0, 1)
    assert bins[1][:3] == pytest.approx((0.97333333, 2 / 3, 3))
    assert bins[1][3] < 2 / 3 < bins[1][4]


def test_the_error_is_the_mean_difference_over_the_bins():
    text = section(
        told([[0.9, 0.1]] * 10, ["ant"] * 7 + ["bee"] * 3, classes=("ant", "bee"))
    ).blocks[0]
    assert "0.900, and the class is right for 0.700" in text.text
    assert "differ by 0.200" in text.text


def test_the_judgement():
    sure, n = [[0.99, 0.01]] * 100, ("ant", "bee")
    assert "too sure" in section(told(sure, ["ant", "bee"] * 50, classes=n)).blocks[0].text
    unsure = [[0.6, 0.4]] * 100
    assert "not sure enough" in section(told(unsure, ["ant"] * 100, classes=n)).blocks[0].text
    fair = section(told(unsure, ["ant"] * 60 + ["bee"] * 40, classes=n)).blocks[0].text
    assert "may be chance" in fair


def test_without_probabilities_the_section_says_why():
    blocks = section(usual(has_probabilities=False)).blocks
    assert len(blocks) == 1
    assert "no predict_proba" in blocks[0].text

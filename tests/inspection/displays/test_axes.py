import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from sktransfer.inspection.displays.axes import axes_or_new


def test_given_axes_are_used():
    _, ax = plt.subplots()
    assert axes_or_new(ax, "plot") is ax
    plt.close("all")


def test_others_are_of_a_new_figure():
    before = plt.get_fignums()
    ax = axes_or_new(None, "plot")
    assert plt.get_fignums() == [*before, ax.figure.number]
    plt.close("all")


def test_the_error_without_matplotlib_names_the_caller(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"TrainingCurveDisplay\.plot requires matplotlib"):
        axes_or_new(None, "TrainingCurveDisplay.plot")

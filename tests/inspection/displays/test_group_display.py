import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from sktransfer import GroupMetricsDisplay, group_metrics
from sktransfer.exceptions import ParameterError

TRUE = ["cat", "dog"] * 30
PREDICTED = ["cat", "dog", "cat", "cat"] * 15
GROUPS = ["in"] * 28 + ["out"] * 28 + [None] * 4


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def test_each_group_is_drawn_with_its_interval():
    display = GroupMetricsDisplay.from_predictions(TRUE, PREDICTED, GROUPS)
    table = display.table
    assert list(display.errorbars_) == ["in", "out", None]
    for i, bar in enumerate(display.errorbars_.values()):
        np.testing.assert_allclose(bar.lines[0].get_xydata()[0], [table.values[i, 0], i])
        (segment,) = bar.lines[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 0], [table.low[i, 0], table.high[i, 0]])
    assert display.line_.get_xdata()[0] == table.overall[0]
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == [
        *("in", "out", "(missing)*")
    ]


def test_small_groups_look_different():
    display = GroupMetricsDisplay.from_predictions(TRUE, PREDICTED, GROUPS)
    points = [bar.lines[0] for bar in display.errorbars_.values()]
    assert points[2].get_markerfacecolor() == "white"
    assert points[0].get_markerfacecolor() == points[1].get_markerfacecolor() != "white"


def test_any_metric_of_the_table_can_be_drawn_on_given_axes():
    _, ax = plt.subplots()
    display = GroupMetricsDisplay(table=group_metrics(TRUE, PREDICTED, GROUPS))
    assert display.plot("recall (dog)", ax=ax).ax_ is ax
    assert "recall (dog)" in ax.get_xlabel()
    with pytest.raises(ParameterError, match=r"'recall'.*accuracy, recall \(cat\)"):
        display.plot("recall")


def test_groups_without_a_value_have_no_point():
    display = GroupMetricsDisplay.from_predictions(
        TRUE, PREDICTED, ["cats", "dogs"] * 30, metrics=["recall"]
    )
    assert list(display.errorbars_) == ["cats"]


def test_a_classifier_predicts():
    X = np.zeros((60, 1))
    dummy = DummyClassifier().fit(X, TRUE)
    display = GroupMetricsDisplay.from_estimator(dummy, X, TRUE, GROUPS, metrics=["accuracy"])
    assert display.table.overall.tolist() == [0.5]


@pytest.mark.parametrize("name", ["$5-$10", r"$\frac{$"])
def test_names_are_no_formulas(name, tmp_path):
    display = GroupMetricsDisplay.from_predictions(TRUE, PREDICTED, [name] * 30 + ["b"] * 30)
    display.figure_.savefig(tmp_path / "figure.svg")
    assert display.ax_.get_yticklabels()[0].get_text() == f"{name}"

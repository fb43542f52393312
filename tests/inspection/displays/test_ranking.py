import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktransfer import RankingDisplay
from sktransfer.exceptions import ParameterError
from tests.ranking.test_table import BEST, measured, table


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def ranking_of(**seconds):
    """Rank "a", "b" and so on in the order of accuracy, with given seconds for 1,000 pictures."""
    return table(
        *(
            measured(name, BEST - 0.1 * i, seconds_per_1000=value)
            for i, (name, value) in enumerate(seconds.items())
        )
    )


def test_accuracy_is_drawn_against_time():
    ranking = ranking_of(a=40.0, b=10.0, c=20.0)
    display = RankingDisplay.from_ranking(ranking)
    points = {name: bar.lines[0].get_xydata()[0] for name, bar in display.errorbars_.items()}
    for name, i in (("a", 0), ("b", 1), ("c", 2)):
        np.testing.assert_allclose(points[name], [40 if i == 0 else 10 * i, ranking.accuracy[i]])
    (bar,) = display.errorbars_["a"].lines[2]
    middle, error = ranking.accuracy[0], ranking.accuracy_error[0]
    np.testing.assert_allclose(bar.get_segments()[0][:, 1], [middle - error, middle + error])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["1  a", "2  b", "3  c"]
    assert [text.get_text() for text in display.ax_.texts] == ["1", "2", "3"]


def test_the_pareto_front_has_no_backbone_that_a_faster_one_beats():
    display = RankingDisplay.from_ranking(ranking_of(a=40.0, b=10.0, c=20.0, d=5.0, e=10.0))
    np.testing.assert_allclose(display.front_.get_xdata(), [5, 10, 40])
    ranking = display.ranking
    np.testing.assert_allclose(display.front_.get_ydata(), ranking.accuracy[[3, 1, 0]])
    colours = {name: bar.lines[0].get_color() for name, bar in display.errorbars_.items()}
    assert colours["a"] == colours["b"] == colours["d"] != colours["c"] == colours["e"]


def test_ties_are_filled():
    display = RankingDisplay.from_ranking(ranking_of(a=1.0, b=2.0))
    fills = [bar.lines[0].get_markerfacecolor() for bar in display.errorbars_.values()]
    assert fills[0] != "white"
    assert fills[1] == "white"


def test_backbones_without_a_time_are_named():
    display = RankingDisplay.from_ranking(ranking_of(a=np.nan, b=2.0))
    assert list(display.errorbars_) == ["b"]
    assert "not timed: a" in display.ax_.get_legend().get_title().get_text()
    np.testing.assert_allclose(display.front_.get_xdata(), [2])
    with pytest.raises(ParameterError, match="No backbone of this ranking has a time"):
        RankingDisplay.from_ranking(ranking_of(a=np.nan))


def test_names_of_backbones_are_no_mathematics():
    ranking = ranking_of(**{"$\\frac{$": 40.0, "$^$": np.nan, "b": 3.0})
    display = RankingDisplay.from_ranking(ranking)
    display.figure_.canvas.draw()


def test_axes_and_style_are_the_users():
    _, ax = plt.subplots()
    display = RankingDisplay.from_ranking(ranking_of(a=1.0, b=2.0), ax=ax, color="red")
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.errorbars_["b"].lines[0].get_color() == "red"


def test_only_a_ranking_can_be_drawn():
    with pytest.raises(ParameterError, match="takes what rank_backbones returns, but got dict"):
        RankingDisplay.from_ranking({})

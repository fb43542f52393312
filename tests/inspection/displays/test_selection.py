import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import SelectionDisplay
from sktransfer.exceptions import ParameterError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor


def score(gain, error):
    return {"mean": gain - 0.8, "gain": gain, "gain_error": error}


RESIZE = {"crop": score(0.0, 0.0), "squash": score(0.06, 0.01), "pad": score(-0.02, 0.03)}
DEPTH = {0: score(0.0, 0.0), 1: score(0.15, 0.02)}


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def figures_of(display):
    """Return the texts beside the candidates, from the top."""
    return [text.get_text() for text in display.ax_.texts]


def lines_of(display):
    """Return the labels of the lines, from the top."""
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def test_candidates_are_drawn_with_their_errors():
    display = SelectionDisplay(chosen={"resize": "squash"}, scores={"resize": RESIZE}).plot()
    bars = display.errorbars_["resize"]
    assert {name: bar.lines[0].get_xdata()[0] for name, bar in bars.items()} == {
        "crop": 0.0,
        "squash": 0.06,
        "pad": -0.02,
    }
    (bar,) = bars["squash"].lines[2]
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [0.05, 0.07])
    assert bars["crop"].lines[2] == ()  # it is compared with itself
    assert lines_of(display) == ["resize", "crop", "squash", "pad"]
    assert figures_of(display) == [
        "0 (simplest)",
        "+0.060 ± 0.010, chosen",
        "−0.020 ± 0.030",  # noqa: RUF001
    ]
    assert "log-likelihood" in display.ax_.get_xlabel()


def test_names_of_candidates_are_no_mathematics():
    scores = {"resize": {"$\\frac{$": score(0.0, 0.0), "$^$": score(0.1, 0.1)}}
    display = SelectionDisplay(chosen={"resize": "$^$"}, scores=scores).plot()
    display.figure_.canvas.draw()


def test_each_decision_has_its_candidates_and_its_choice():
    chosen = {"resize": "crop", "unfreeze_depth": 1}
    scores = {"resize": RESIZE, "unfreeze_depth": DEPTH}
    display = SelectionDisplay(chosen=chosen, scores=scores).plot()
    assert lines_of(display) == ["resize", *RESIZE, "unfreeze_depth", "0", "1"]
    marked = [text for text in figures_of(display) if text.endswith("chosen")]
    assert marked == ["0 (simplest), chosen", "+0.150 ± 0.020, chosen"]
    full = {
        (parameter, name)
        for parameter, bars in display.errorbars_.items()
        for name, bar in bars.items()
        if bar.lines[0].get_markerfacecolor() != "white"
    }
    assert full == set(chosen.items())
    # The first lines are on top, and no line is cut off.
    assert display.ax_.get_ylim() == (6.5, -0.5)


def test_it_draws_where_it_is_told_and_as():
    figure, ax = plt.subplots(figsize=(4, 3))
    display = SelectionDisplay(chosen={"resize": "crop"}, scores={"resize": RESIZE})
    assert display.plot(ax=ax, markersize=11) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert figure.get_figheight() == 3
    sizes = {bar.lines[0].get_markersize() for bar in display.errorbars_["resize"].values()}
    assert sizes == {11}


@pytest.fixture
def wide_pictures():
    X, y = make_pictures(16)
    return np.concatenate([X, X[:, ::-1]], axis=2), y


def test_from_estimator_draws_the_evidence_of_the_fit(wide_pictures):
    X, y = wide_pictures
    model = make_pipeline(make_classifier(resize="auto"))
    with pytest.raises(NotFittedError):
        SelectionDisplay.from_estimator(model[-1])
    classifier = model.fit(X, y)[-1]
    for estimator in (model, classifier):
        display = SelectionDisplay.from_estimator(estimator)
        assert display.chosen == {"resize": classifier.resize_}
        assert display.scores == {"resize": classifier.resize_scores_}


def test_from_estimator_draws_each_decision(wide_pictures, monkeypatch):
    monkeypatch.setattr("sktransfer.selection.depth._FEWEST_ROWS", 4)
    classifier = make_classifier(resize="auto", unfreeze_depth="auto", max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one epoch is short
        classifier.fit(*wide_pictures)
    display = SelectionDisplay.from_estimator(classifier)
    depth = classifier.unfreeze_depth_
    assert display.chosen == {"resize": classifier.resize_, "unfreeze_depth": depth}
    assert list(display.errorbars_) == ["resize", "unfreeze_depth"]


def test_errors_say_what_decides(wide_pictures):
    X, y = wide_pictures
    given = make_classifier(resize="pad").fit(X, y)
    with pytest.raises(ParameterError, match=r"with resize='pad'.*with .*resize='auto'"):
        SelectionDisplay.from_estimator(given)
    few = make_classifier(resize="auto").fit(X[:2], y[:2])
    with pytest.raises(ParameterError, match=r"though resize='auto'.*too few rows"):
        SelectionDisplay.from_estimator(few)


@pytest.mark.parametrize("other", ["head", "extractor"])
def test_other_estimators_are_refused(wide_pictures, other):
    X, y = wide_pictures
    if other == "head":
        model = make_pipeline(make_extractor(), LogisticRegression()).fit(X, y)
    else:
        model = make_extractor().fit(X)
    name = {"head": "LogisticRegression", "extractor": "PretrainedFeatureExtractor"}[other]
    with pytest.raises(ParameterError, match=f"PretrainedImageClassifier.*got {name}"):
        SelectionDisplay.from_estimator(model)

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from sklearn.exceptions import NotFittedError

from sktransfer import TrainingCurveDisplay
from tests.small_estimators import LITE0, make_classifier

HISTORY = [
    {"phase": "probe", "epoch": 1, "train_loss": 2.0, "valid_loss": 2.5, "valid_score": 0.4},
    {"phase": "fine-tune", "epoch": 1, "train_loss": 1.0, "valid_loss": 1.5, "valid_score": 0.6},
    {"phase": "fine-tune", "epoch": 2, "train_loss": 0.5, "valid_loss": 1.2, "valid_score": 0.7},
]


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def test_losses_and_score_are_drawn():
    display = TrainingCurveDisplay(history=HISTORY).plot()
    curves = {line.get_label(): list(line.get_ydata()) for line in display.lines_}
    assert curves == {
        "training": [2.0, 1.0, 0.5],
        "validation": [2.5, 1.5, 1.2],
        "score": [0.4, 0.6, 0.7],
    }
    assert display.score_ax_.get_ylabel() == "validation score"
    assert [text.get_text() for text in display.ax_.texts] == ["probe", "fine-tune"]


def test_without_validation_there_is_one_curve():
    history = [{"phase": "head", "epoch": 1, "train_loss": 1.0}]
    display = TrainingCurveDisplay(history=history).plot()
    assert len(display.lines_) == 1
    assert display.score_ax_ is None


def test_it_draws_where_it_is_told_and_as():
    _, ax = plt.subplots()
    display = TrainingCurveDisplay(history=HISTORY).plot(ax=ax, linewidth=5)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert {line.get_linewidth() for line in display.lines_} == {5}


def test_from_estimator_needs_a_fitted_one(pictures):
    classifier = make_classifier(backbone=LITE0, validation_fraction=0.25)
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(classifier)
    display = TrainingCurveDisplay.from_estimator(classifier.fit(*pictures))
    losses = [row["train_loss"] for row in classifier.history_]
    assert list(display.lines_[0].get_ydata()) == losses

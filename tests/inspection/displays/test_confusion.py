from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sktransfer.exceptions import ParameterError
from sktransfer.inspection import ConfusionDisplay
from tests.conftest import make_pictures, save_pictures
from tests.small_estimators import make_classifier

X, y = make_pictures(6)
TRUTH, PREDICTED = list("aabbbc"), list("abbbba")
P = np.array([0.9, 0.8, 0.6, 0.7, 0.9, 0.5])


def probabilities():
    """Return rows with the probability of what was predicted in its column."""
    rows = np.zeros((6, 3))
    rows[np.arange(6), ["abc".index(label) for label in PREDICTED]] = P
    return rows


def test_counts_and_pictures():
    display = ConfusionDisplay.from_predictions(X, TRUTH, PREDICTED)
    assert display.matrix.tolist() == [[1, 1, 0], [0, 3, 0], [1, 0, 0]]
    assert display.rows == {(0, 0): 0, (0, 1): 1, (1, 1): 2, (2, 0): 5}
    np.testing.assert_array_equal(display.pictures[2, 0], X[5])
    shown = [text.get_text() for text in display.ax_.texts if text.get_visible()]
    assert shown == ["1", "1", "3", "1"]
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["a", "b", "c"]
    assert display.ax_.get_ylabel() == "true"


def test_the_most_confident_picture_of_a_cell():
    display = ConfusionDisplay.from_predictions(
        X, TRUTH, PREDICTED, y_proba=probabilities(), classes=["a", "b", "c"]
    )
    assert display.rows[1, 1] == 4


def test_some_classes():
    display = ConfusionDisplay.from_predictions(X, TRUTH, PREDICTED, labels=["b", "a"])
    assert display.matrix.tolist() == [[3, 0], [1, 1]]
    assert display.labels == ["b", "a"]


def test_of_an_estimator():
    model = make_classifier(image_size=64).fit(X, y)
    ax = plt.figure().subplots()
    display = ConfusionDisplay.from_estimator(model, X, y, ax=ax)
    assert display.ax_ is ax
    assert display.matrix.tolist() == [[3, 0], [0, 3]]
    # A test set of one class
    assert ConfusionDisplay.from_estimator(model, X[:1], y[:1]).matrix.tolist() == [[1]]
    with pytest.raises(NotFittedError):
        ConfusionDisplay.from_estimator(make_classifier(), X, y)


def test_pictures_that_are_gone_are_grey_and_counted(tmp_path):
    paths = save_pictures(X, tmp_path)
    Path(paths[0]).unlink()
    display = ConfusionDisplay.from_predictions(paths, TRUTH, PREDICTED)
    assert display.unreadable == [0]
    assert display.ax_.get_title() == "1 can't be read"
    display.figure_.canvas.draw()


@pytest.mark.parametrize("label", ["$5-$10", "$\\frac{$", "caf\udce9"])
def test_any_label_is_drawn_as_text(label):
    display = ConfusionDisplay.from_predictions(X[:2], [label, "x"], [label, "x"])
    display.figure_.canvas.draw()


def test_bad_input():
    plot = ConfusionDisplay.from_predictions
    many = [str(i) for i in range(31)]
    with pytest.raises(ParameterError, match="draws 1 to 30 classes; got 31"):
        plot(np.repeat(X[:1], 31, axis=0), many, many)
    with pytest.raises(ParameterError, match="draws 1 to 30 classes; got 0"):
        plot(X, TRUTH, PREDICTED, labels=[])
    with pytest.raises(ParameterError, match=r"labels holds \['d'\]"):
        plot(X, TRUTH, PREDICTED, labels=["a", "d"])
    with pytest.raises(ParameterError, match="needs one label for each picture"):
        plot(X, np.eye(6, 2, dtype=int), np.eye(6, 2, dtype=int))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plot(X[:3], TRUTH, PREDICTED)

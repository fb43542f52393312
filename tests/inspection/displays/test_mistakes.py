from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sktransfer.exceptions import ImageError, ParameterError
from sktransfer.inspection import MistakesDisplay
from sktransfer.inspection.displays import mistakes
from sktransfer.inspection.displays.mistakes import ordered
from sktransfer.inspection.outcomes import outcomes
from tests.conftest import make_pictures, save_pictures
from tests.inspection.conftest import texts_of
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(12)
LABELS = np.array(["red", "green"])[y]
# Some labels are wrong, and the classifier was told the right ones.
NOISY = LABELS.copy()
NOISY[[2, 7]] = ["green", "red"]
P = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.3, 0.7]])
TRUTH, PREDICTED = ["a", "a", "a", "b"], ["a", "b", "b", "b"]


@pytest.fixture(scope="module")
def model():
    return make_classifier(image_size=64).fit(X, LABELS)


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        ("loss", [1, 2, 3, 0]),
        ("confidence", [1, 2]),
        ("uncertainty", [2, 3, 1, 0]),
        ("row", [1, 2]),
    ],
)
def test_orders(order, rows):
    found = outcomes(TRUTH, PREDICTED, P)
    assert ordered(found, order, "").tolist() == rows
    display = MistakesDisplay.from_predictions(X[:4], TRUTH, PREDICTED, y_proba=P, order=order)
    assert display.rows.tolist() == rows
    assert display.order == order


def test_truth_prediction_and_probabilities_are_written():
    display = MistakesDisplay.from_predictions(X[:4], TRUTH, PREDICTED, y_proba=P, n_columns=2)
    assert texts_of(display.axes_)[:3] == [
        ["b", "0.80", "is a", "0.20"],
        ["b", "0.55", "is a", "0.45"],
        ["b", "0.70", "right"],
    ]
    title = "2 of 4 pictures are predicted wrongly; largest loss first"
    assert display.figure_._suptitle.get_text() == title
    assert display.axes_.shape == (2, 2)
    np.testing.assert_array_equal(display.axes_[0, 0].images[0].get_array(), X[1])


def test_of_an_estimator(model):
    display = MistakesDisplay.from_estimator(model, X, NOISY, n_pictures=2)
    assert sorted(display.rows.tolist()) == [2, 7]
    assert "2 of 12" in display.figure_._suptitle.get_text()
    assert display.maps is None


@pytest.mark.parametrize("maps", [True, "cam", "occlusion"])
def test_maps_are_for_the_predictions(model, maps):
    display = MistakesDisplay.from_estimator(model, X, NOISY, n_pictures=2, maps=maps)
    assert [each.shape for each in display.maps] == [(224, 224)] * 2
    assert len(display.axes_[0, 0].images) == 2
    with pytest.raises(ParameterError, match="method must be one of"):
        MistakesDisplay.from_estimator(model, X, NOISY, maps="shap")


def test_maps_of_arrays_that_any_classifier_takes():
    class Guess(DummyClassifier):
        def fit(self, X, y):
            return super().fit(np.zeros((len(X), 1)), y)

    guess = Guess(strategy="prior").fit(X, LABELS)
    display = MistakesDisplay.from_estimator(guess, X, LABELS, maps=True, n_pictures=3)
    assert len(display.maps) == 3


def test_without_probabilities_the_reason_and_the_way_out_are_said():
    model = make_pipeline(make_extractor(), StandardScaler(), LinearSVC()).fit(X, LABELS)
    with pytest.raises(ParameterError, match=r"order='loss' needs .*LinearSVC.*order='row'"):
        MistakesDisplay.from_estimator(model, X, NOISY)
    display = MistakesDisplay.from_estimator(model, X, NOISY, order="row")
    assert texts_of(display.axes_)[0] == ["red", "is green"]
    with pytest.raises(ParameterError, match="y_proba was not given"):
        MistakesDisplay.from_predictions(X, LABELS, NOISY)


def test_several_labels():
    indicator = np.stack([y, 1 - y], axis=1)
    model = make_classifier(loss="binary_cross_entropy", image_size=64).fit(X, indicator)
    wrong = indicator.copy()
    wrong[3] = [1, 1]
    display = MistakesDisplay.from_estimator(model, X, wrong, n_pictures=1, maps="cam")
    assert display.rows.tolist() == [3]
    assert texts_of(display.axes_)[0][2] == "is 0, 1"


def test_of_several_labels_the_wrong_one_is_explained(monkeypatch):
    indicator = np.stack([np.r_[np.zeros(2, int), np.ones(10, int)], y, 1 - y], axis=1)
    model = make_classifier(loss="binary_cross_entropy", image_size=64).fit(X, indicator)
    wrong = model.predict(X[:4])
    wrong[:, 1] = 1 - wrong[:, 1]
    explained, codes = mistakes.explained, []
    monkeypatch.setattr(mistakes, "explained", lambda *a: codes.extend(a[4]) or explained(*a))
    MistakesDisplay.from_estimator(model, X[:4], wrong, maps="cam")
    assert codes == [1, 1, 1, 1]


def test_several_labels_without_probabilities_have_maps():
    indicator = np.stack([y, 1 - y], axis=1)
    last = OneVsRestClassifier(LinearSVC())
    model = make_pipeline(make_extractor(image_size=64), StandardScaler(), last)
    model.fit(X, indicator)
    display = MistakesDisplay.from_estimator(model, X, 1 - indicator, order="row", maps="cam")
    assert len(display.maps) == 12


@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.ImageWarning")
def test_pictures_that_an_imputer_stands_for_have_no_map(tmp_path):
    paths = save_pictures(X, tmp_path)
    Path(paths[3]).write_bytes(b"broken")
    extractor = make_extractor(on_error="nan")
    model = make_pipeline(extractor, SimpleImputer(), LogisticRegression())
    model.fit(paths, LABELS)
    display = MistakesDisplay.from_estimator(model, paths, LABELS, maps="occlusion")
    assert display.unreadable == [3]
    unseen = [np.isnan(each).all() for each in display.maps]
    assert [bool(each) for each in unseen] == [row == 3 for row in display.rows]


def test_nothing_is_wrong(model):
    display = MistakesDisplay.from_estimator(model, X, LABELS, order="confidence", maps=True)
    title = display.figure_._suptitle.get_text()
    assert title == "0 of 12 pictures are predicted wrongly: there is nothing to show"
    display.figure_.canvas.draw()


def test_pictures_that_are_gone_are_grey_and_counted(tmp_path):
    paths = save_pictures(X[:4], tmp_path)
    Path(paths[1]).unlink()
    display = MistakesDisplay.from_predictions(paths, TRUTH, PREDICTED, y_proba=P)
    assert display.unreadable == [1]
    assert display.figure_._suptitle.get_text().endswith("; 1 can't be read")


def test_of_a_pipeline():
    pipeline = make_pipeline(make_extractor(), StandardScaler(), LogisticRegression())
    pipeline.fit(X, LABELS)
    display = MistakesDisplay.from_estimator(pipeline, X, NOISY, order="confidence")
    assert sorted(display.rows.tolist()) == [2, 7]


def test_ten_thousand_classes():
    many = np.arange(10_000)
    P = np.full((4, 10_000), 1e-4)
    display = MistakesDisplay.from_predictions(
        X[:4], many[:4], many[4:8], y_proba=P, classes=many, n_pictures=2
    )
    assert texts_of(display.axes_)[0] == ["4", "0.00", "is 0", "0.00"]


def test_bad_input(model):
    with pytest.raises(ParameterError, match="order must be one of"):
        MistakesDisplay.from_estimator(model, X, NOISY, order="worst")
    with pytest.raises(ParameterError, match="n_pictures must be a whole number"):
        MistakesDisplay.from_estimator(model, X, NOISY, n_pictures=0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MistakesDisplay.from_estimator(model, X, NOISY[:5])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MistakesDisplay.from_predictions(X, TRUTH, PREDICTED, y_proba=P)
    with pytest.raises(NotFittedError):
        MistakesDisplay.from_estimator(make_classifier(), X, NOISY)
    with pytest.raises(ImageError):
        MistakesDisplay.from_predictions(np.zeros((4, 9)), TRUTH, PREDICTED, y_proba=P)

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline

from sktransfer.exceptions import ParameterError
from sktransfer.inspection import AttentionMapDisplay, explain
from tests.conftest import make_pictures, save_pictures
from tests.inspection.conftest import texts_of
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(12)
LABELS = np.array(["red", "green"])[y]


@pytest.fixture(scope="module")
def model():
    return make_classifier(image_size=64).fit(X, LABELS)


def test_each_picture_is_followed_by_its_map(model):
    display = AttentionMapDisplay.from_estimator(model, X[:5], n_columns=2)
    assert display.axes_.shape == (3, 4)
    assert [len(ax.images) for ax in display.axes_.flat] == [1, 2] * 5 + [0, 0]
    probability = model.predict_proba(X[:1]).max()
    assert texts_of(display.axes_)[:2] == [
        [LABELS[0], f"{probability:.2f}"],
        ["class activation map"],
    ]


def test_a_target_and_a_method(model):
    display = AttentionMapDisplay.from_estimator(model, X[:2], "red", method="occlusion")
    expected = [f"{p:.2f}" for p in model.predict_proba(X[:2])[:, 1]]
    assert [texts[1] for texts in texts_of(display.axes_)[::2]] == expected
    assert texts_of(display.axes_)[1] == ["occlusion"]


def test_of_an_explanation(model):
    explanation = explain(model, X[:2])
    display = AttentionMapDisplay(explanation=explanation).plot()
    assert texts_of(display.axes_)[0] == [LABELS[0]]


def test_without_probabilities():
    model = make_pipeline(make_extractor(image_size=64), RidgeClassifier()).fit(X, LABELS)
    display = AttentionMapDisplay.from_estimator(model, X[:1])
    assert display.probabilities is None


def test_several_labels():
    indicator = np.stack([y, 1 - y], axis=1)
    model = make_classifier(loss="binary_cross_entropy", image_size=64).fit(X, indicator)
    display = AttentionMapDisplay.from_estimator(model, X[:2], 1)
    np.testing.assert_allclose(display.probabilities, model.predict_proba(X[:2])[:, 1])


def test_a_picture_that_is_gone_is_said(model, tmp_path):
    paths = save_pictures(X[:2], tmp_path)
    explanation = explain(model, paths)
    Path(paths[0]).unlink()
    display = AttentionMapDisplay(explanation=explanation).plot()
    assert texts_of(display.axes_)[0] == ["can't be read"]


def test_bad_input(model):
    with pytest.raises(ParameterError, match="draws at most 200 pictures; got 204"):
        AttentionMapDisplay.from_estimator(model, np.concatenate([X] * 17))
    with pytest.raises(ParameterError, match="method must be one of"):
        AttentionMapDisplay.from_estimator(model, X, method="shap")
    with pytest.raises(ParameterError, match="n_columns must be"):
        AttentionMapDisplay.from_estimator(model, X, n_columns=0)

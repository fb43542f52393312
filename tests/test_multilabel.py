import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit, cross_val_predict
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_classifiers_multilabel_output_format_decision_function,
    check_classifiers_multilabel_output_format_predict,
    check_classifiers_multilabel_output_format_predict_proba,
    check_classifiers_multilabel_representation_invariance,
)

from sktransfer.exceptions import ParameterError
from tests.small_estimators import LITE0, make_classifier
from tests.test_sklearn_checks import FlatClassifier

several = partial(make_classifier, backbone=LITE0, loss="binary_cross_entropy")


def make_labelled(n, seed=0, noise=20):
    """Make pictures whose channels are bright or dark independently, and y of shape (n, 3)."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 3)) < [0.5, 0.4, 0.25]).astype(int)
    levels = np.where(y, 200, 60)[:, None, None, :]
    return np.clip(levels + rng.normal(0, noise, (n, 32, 32, 3)), 0, 255).astype(np.uint8), y


X, Y = make_labelled(40)
TEST_X, TEST_Y = make_labelled(30, seed=1)


@pytest.fixture(scope="module")
def fitted():
    return several().fit(X, Y)


def test_learns_each_label(fitted):
    predicted = fitted.predict(TEST_X)
    assert predicted.shape == (30, 3)
    assert predicted.dtype.kind == "i"
    assert set(np.unique(predicted)) <= {0, 1}
    assert (predicted == TEST_Y).mean() > 0.9
    assert fitted.score(TEST_X, TEST_Y) == (predicted == TEST_Y).all(axis=1).mean()


def test_the_columns_keep_their_order(fitted):
    assert_array_equal(fitted.classes_, [0, 1, 2])
    turned = several().fit(X, Y[:, ::-1])
    assert_allclose(
        turned.predict_proba(TEST_X), fitted.predict_proba(TEST_X)[:, ::-1], rtol=1e-3, atol=1e-5
    )


def test_probabilities_and_scores_say_the_same(fitted):
    probabilities = fitted.predict_proba(TEST_X)
    scores = fitted.decision_function(TEST_X)
    assert probabilities.shape == scores.shape == (30, 3)
    assert probabilities.dtype == scores.dtype == np.float32
    assert_allclose(probabilities, expit(scores), rtol=1e-5)
    assert_allclose(fitted.predict_log_proba(TEST_X), np.log(probabilities), atol=1e-5)
    assert_array_equal(fitted.predict(TEST_X), scores > 0)
    assert np.ptp(probabilities.sum(axis=1)) > 0.5


@pytest.mark.parametrize(
    "kind",
    [csr_matrix, csr_array, np.ndarray.tolist, pd.DataFrame, lambda y: y.astype(bool)],
    ids=["matrix", "sparse array", "lists", "frame", "bools"],
)
def test_the_form_of_y_does_not_matter(fitted, kind):
    assert_array_equal(several().fit(X, kind(Y)).predict_proba(X), fitted.predict_proba(X))


def test_two_labels_keep_two_columns():
    classifier = several().fit(X, Y[:, :2])
    assert classifier.decision_function(TEST_X).shape == (30, 2)
    assert classifier.predict_proba(TEST_X).shape == (30, 2)
    assert classifier.predict(TEST_X).shape == (30, 2)
    assert (classifier.predict(TEST_X) == TEST_Y[:, :2]).mean() > 0.8


@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": "focal", "lr": 1e-2},
        {"unfreeze_depth": 1, "max_epochs": 2, "lr": 1e-5},
        {"hidden_layer_sizes": (64,), "lr": 3e-2, "batch_size": 8, "max_epochs": 20, "mixup": 0.2},
        {"label_smoothing": 0.1, "augment": "light", "n_views": 2},
    ],
    ids=str,
)
def test_other_ways_of_training_learn_too(parameters):
    classifier = several(**parameters).fit(X, Y)
    assert (classifier.predict(X) == Y).mean() > 0.85


def test_several_labels_need_a_loss_for_them():
    with pytest.raises(ParameterError, match=r"indicator.*'cross_entropy'.*binary_cross_entropy"):
        several(loss="cross_entropy").fit(X, Y)


def test_one_label_a_picture_and_one_against_the_rest():
    y = np.array(["a", "b", "c"])[np.arange(40) % 3]
    pictures = np.where((np.arange(40) % 3)[:, None, None, None] == np.arange(3), 200, 50)
    pictures = np.broadcast_to(pictures, (40, 32, 32, 3)).astype(np.uint8)
    classifier = several().fit(pictures, y)
    assert_array_equal(classifier.predict(pictures), y)
    assert_allclose(classifier.predict_proba(pictures).sum(axis=1), 1, rtol=1e-5)


def test_tags_tell_of_several_labels():
    assert get_tags(several()).classifier_tags.multi_label
    assert get_tags(several(loss="focal")).classifier_tags.multi_label
    assert not get_tags(several(loss="cross_entropy")).classifier_tags.multi_label
    assert get_tags(several()).classifier_tags.multi_class


# Class and sample weights.


def rare(seed=0):
    """Make pictures of noise, so that only the frequency of a label can be learned."""
    rng = np.random.default_rng(seed)
    y = np.zeros((40, 2), int)
    y[:6, 0] = y[::2, 1] = 1
    return rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), y


def test_class_weight_lifts_a_rare_label():
    noise, y = rare()
    test, _ = rare(1)
    strong = {"weight_decay": 0.1}  # otherwise the model would memorise the noise
    plain = several(**strong).fit(noise, y).predict_proba(test).mean(axis=0)
    balanced = several(class_weight="balanced", **strong).fit(noise, y).predict_proba(test)
    by_hand = several(class_weight={0: 34 / 6}, **strong).fit(noise, y).predict_proba(test)
    assert balanced[:, 0].mean() > plain[0] + 0.1
    assert_allclose(balanced[:, 1].mean(), plain[1], atol=0.05)
    assert_allclose(balanced, by_hand, rtol=1e-3)


@pytest.mark.parametrize("class_weight", [{3: 1.0}, {0: -1.0}, {"a": 1.0}], ids=str)
def test_class_weight_is_keyed_by_columns(class_weight):
    with pytest.raises(ValueError, match=r"class_weight.*number of a column of y, 0 to 2"):
        several(class_weight=class_weight).fit(X, Y)


def test_weight_0_equals_the_row_removed():
    weights = np.ones(40)
    weights[:9] = 0
    zeroed = several(class_weight="balanced").fit(X, Y, sample_weight=weights)
    removed = several(class_weight="balanced").fit(X[9:], Y[9:])
    assert_allclose(zeroed.predict_proba(TEST_X), removed.predict_proba(TEST_X), rtol=1e-3)


@pytest.mark.parametrize(
    ("weights", "words"),
    [(-np.ones(40), "[Nn]egative"), (np.ones(3), "sample_weight"), (np.zeros(40), "zero")],
)
def test_bad_sample_weights_are_told(weights, words):
    with pytest.raises(ValueError, match=words):
        several().fit(X, Y, sample_weight=weights)


# Invalid y.


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_never_changes_is_told(value):
    y = Y.copy()
    y[:, 1] = value
    with pytest.raises(ParameterError, match=r"Columns \[1\] of y are the same in every row"):
        several().fit(X, y)
    y[0, 1] = 1 - value
    weights = np.ones(40)
    weights[0] = 0
    with pytest.raises(ParameterError, match=r"Columns \[1\]"):
        several().fit(X, y, sample_weight=weights)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y: y[:-1], "inconsistent"),
        (lambda y: y * 2, "indicator"),
        (lambda y: y - 0.5, "1d array|indicator"),
        (lambda y: np.where(y, np.nan, 0.0), "NaN"),
    ],
    ids=["length", "twos", "halves", "nan"],
)
def test_bad_indicators_are_told(change, words):
    with pytest.raises(ValueError, match=words):
        several().fit(X, change(Y))


def test_validation_data_must_have_the_same_columns():
    with pytest.raises(ValueError, match=r"2 columns.*knows 3"):
        several().fit(X, Y, validation_data=(X, Y[:, :2]))
    with pytest.raises(ValueError, match="indicator"):
        several().fit(X, Y, validation_data=(X, Y[:, 0]))


# Validation, continued training and other features of fit.


@pytest.mark.parametrize("value", [0, 1])
def test_a_split_that_keeps_a_label_from_training_is_told(value):
    y, fold = Y.copy(), np.where(np.arange(len(Y)) < 6, 0, -1)
    y[:, 1] = np.where(fold == 0, 1 - value, value)
    with pytest.raises(ParameterError, match=r"all without, the labels \[1\]"):
        several(validation_fraction=PredefinedSplit(fold)).fit(X, y)


def test_validation_scores_count_whole_rows():
    classifier = several(optimizer="adamw", max_epochs=2, validation_fraction=0.25).fit(X, Y)
    score = classifier.history_[-1]["valid_score"]
    assert 0 <= score <= 1
    assert_allclose(score * 10, round(score * 10), atol=1e-5)
    given = several(max_epochs=10).fit(X, Y, validation_data=(TEST_X, TEST_Y))
    assert_allclose(given.history_[-1]["valid_score"], given.score(TEST_X, TEST_Y), rtol=1e-6)


def test_calibration_of_each_label_keeps_predictions():
    plain = several(validation_fraction=0.3).fit(X, Y)
    calibrated = several(validation_fraction=0.3, calibrate="temperature").fit(X, Y)
    assert calibrated.temperature_ != 1
    assert_array_equal(calibrated.predict(TEST_X), plain.predict(TEST_X))
    assert_allclose(
        calibrated.decision_function(TEST_X) * calibrated.temperature_,
        plain.decision_function(TEST_X),
        rtol=1e-4,
    )


def test_pieces_may_lack_a_label():
    classifier = several(lr=0.1)
    for start in [*range(0, 40, 5)] * 3:
        classifier.partial_fit(X[start : start + 5], Y[start : start + 5])
    assert (classifier.predict(X) == Y).mean() > 0.9
    classifier.partial_fit(X[:1], Y[:1])
    several().partial_fit(X[Y[:, 0] == 0], Y[Y[:, 0] == 0])
    with pytest.raises(ValueError, match=r"2 columns.*knows 3"):
        classifier.partial_fit(X, Y[:, :2])


def test_classes_of_an_indicator_are_its_columns():
    several().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes=\['a', 'b', 'c'\] contradict.*\[0, 1, 2\]"):
        several().partial_fit(X, Y, classes=["a", "b", "c"])


def test_a_pickle_predicts_the_same(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict(TEST_X), fitted.predict(TEST_X))
    assert_array_equal(again.predict_proba(TEST_X), fitted.predict_proba(TEST_X))


def test_in_a_search():
    search = GridSearchCV(
        several(),
        {"loss": ["binary_cross_entropy", "focal"], "class_weight": [None, "balanced"]},
        cv=KFold(2),
        scoring="f1_macro",
        error_score="raise",
    ).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert f1_score(TEST_Y, search.predict(TEST_X), average="macro") > 0.8


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_in_a_cross_validation(method):
    held_out = cross_val_predict(several(), X, Y, cv=KFold(2), method=method)
    assert held_out.shape == (40, 3)
    threshold = 0.5 if method == "predict_proba" else 0
    assert ((held_out > threshold) == Y).mean() > 0.85


@pytest.mark.parametrize(
    "check",
    [
        check_classifiers_multilabel_representation_invariance,
        check_classifiers_multilabel_output_format_predict,
        check_classifiers_multilabel_output_format_predict_proba,
        check_classifiers_multilabel_output_format_decision_function,
    ],
    ids=lambda check: check.__name__,
)
def test_sklearn_check(check):
    classifier = FlatClassifier(
        "mnasnet0_5", weights=None, image_size=32, device="cpu", loss="binary_cross_entropy"
    )
    check("FlatClassifier", clone(classifier))

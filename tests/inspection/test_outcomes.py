import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array, csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.outcomes import outcomes, outcomes_of
from sktransfer.inspection.subject import subject_of
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

P = [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]
ONE = outcomes(["a", "b", "c"], ["a", "a", "c"], P, ["a", "b", "c"])
SEVERAL = outcomes(
    [[1, 0, 1], [0, 0, 1]], [[1, 0, 1], [1, 0, 0]], [[0.9, 0.2, 0.8], [0.6, 0.4, 0.1]]
)


def test_one_label():
    assert ONE.wrong.tolist() == [False, True, False]
    np.testing.assert_allclose(ONE.losses, -np.log([0.7, 0.4, 0.8]))
    np.testing.assert_allclose(ONE.confidence, [0.7, 0.5, 0.8])
    np.testing.assert_allclose(ONE.margins, [0.5, 0.1, 0.7])
    assert (ONE.probability_of_truth(1), ONE.probability_of_prediction(1)) == (0.4, 0.5)
    assert (ONE.names(ONE.truth[1]), len(ONE), ONE.multilabel) == ("b", 3, False)


def test_several_labels():
    assert SEVERAL.wrong.tolist() == [False, True]
    np.testing.assert_allclose(SEVERAL.losses[1], -np.log([0.4, 0.6, 0.1]).mean())
    # Of the wrong labels the one that is wrong with more confidence.
    np.testing.assert_allclose(SEVERAL.confidence, [0.8, 0.9])
    np.testing.assert_allclose(SEVERAL.margins, [0.6, 0.2])
    np.testing.assert_allclose(SEVERAL.probability_of_truth(1), 0.4 * 0.6 * 0.1)
    assert SEVERAL.names(SEVERAL.truth[0]) == "0, 2"
    assert SEVERAL.names(np.zeros(3, int)) == "none"


def test_a_probability_of_zero_has_a_finite_loss():
    sure = outcomes(["a", "b"], ["b", "b"], [[0.0, 1.0], [0.0, 1.0]])
    assert np.isfinite(sure.losses).all()
    assert sure.losses[0] > 80


def test_what_is_worth_a_look():
    assert ONE.explained.tolist() == [0, 0, 2]
    # The wrong label of most confidence: 2 was left out with 0.9, 0 was predicted with 0.6.
    assert SEVERAL.explained.tolist() == [0, 2]
    without = outcomes([[1, 0], [0, 1]], [[1, 1], [0, 1]])
    assert without.explained.tolist() == [1, 1]


@pytest.mark.parametrize("form", [csr_array, csr_matrix, coo_array])
def test_sparse_indicators(form):
    several = np.array([[1, 0, 1], [0, 0, 1]])
    found = outcomes(form(several), np.array([[1, 0, 1], [1, 0, 0]]))
    assert found.wrong.tolist() == [False, True]
    np.testing.assert_array_equal(found.truth, several)


def test_labels_in_a_column():
    found = outcomes(np.array([["a"], ["b"]]), ["a", "a"])
    assert found.wrong.tolist() == [False, True]
    assert found.classes.tolist() == ["a", "b"]


def test_classes_come_from_the_labels():
    assert outcomes([3, 1], [1, 1]).classes.tolist() == [1, 3]
    assert outcomes(["b"], ["a"]).classes.tolist() == ["a", "b"]


def test_probabilities_of_the_second_class_are_enough():
    found = outcomes([0, 1], [1, 1], [0.9, 0.6])
    np.testing.assert_allclose(found.probabilities, [[0.1, 0.9], [0.4, 0.6]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["a", "b"]), "inconsistent numbers of samples"),
        ((["a", "b"], ["a", "a"], [[1.0], [1.0]]), r"\(2, 2\); got \(2, 1\)"),
        ((["a", "b"], ["a", "a"], [[1.0, 2.0], [1.0, 0.0]]), "lie between 0 and 1"),
        ((["a", "b"], ["a", "a"], [[np.nan, 0.0], [1.0, 0.0]]), "lie between 0 and 1"),
        ((["a", "x"], ["a", "a"], None, ["a", "b"]), r"y holds \['x'\], which are not among"),
        (([[1, 0], [0, 1]], [0, 1]), "both be one label"),
        (([[1, 0], [0, 1]], [[1, 0], [0, 1]], None, ["a", "b", "c"]), "2 columns, but there are 3"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        outcomes(*arguments)


def test_of_an_estimator():
    X, y = make_pictures(12)
    model = make_classifier().fit(X, y)
    subject = subject_of(model, "a test")
    found = outcomes_of(subject, X, 1 - y)
    assert found.wrong.all()
    np.testing.assert_array_equal(found.probabilities, model.predict_proba(X))
    # A test set may lack classes.
    assert outcomes_of(subject, X[:1], y[:1]).classes.tolist() == [0, 1]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        outcomes_of(subject, X, y[:3])
    with pytest.raises(ParameterError, match=r"y holds \[6, 7\]"):
        outcomes_of(subject, X, y + 6)


def test_without_probabilities():
    X, y = make_pictures(12)
    model = make_pipeline(make_extractor(), LinearSVC()).fit(X, y)
    assert outcomes_of(subject_of(model, "a test"), X, y).probabilities is None
    model = make_pipeline(make_extractor(), LogisticRegression()).fit(X, y)
    assert outcomes_of(subject_of(model, "a test"), X, y).probabilities.shape == (12, 2)

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.explanation.targets import target_codes
from sktransfer.inspection.subject import subject_of

X = np.random.default_rng(0).normal(size=(30, 4))
LABELS = np.array(["b", "a", "c"])[X[:, :3].argmax(1)]
SUBJECT = subject_of(LogisticRegression().fit(X, LABELS), "a test")


def several(classifier):
    return subject_of(OneVsRestClassifier(classifier).fit(X, (X[:, :3] > 0).astype(int)), "a test")


def test_a_label_is_for_all_pictures():
    assert target_codes("c", SUBJECT, X[:3], 3).tolist() == [2, 2, 2]


@pytest.mark.parametrize("kind", [list, np.array, tuple])
def test_labels_are_for_one_picture_each(kind):
    assert target_codes(kind(["c", "a"]), SUBJECT, X[:2], 2).tolist() == [2, 0]


def test_none_is_the_prediction():
    codes = target_codes(None, SUBJECT, X, 30)
    assert SUBJECT.classes[codes].tolist() == SUBJECT.predict(X).tolist()


def test_labels_may_be_numbers_and_bools():
    for y in (np.array([3, 7])[X.argmax(1) % 2], X[:, 0] > 0):
        subject = subject_of(LogisticRegression().fit(X, y), "a test")
        assert target_codes(y[0], subject, X[:1], 1).tolist() == [int(y[0] == y.max())]


def test_of_several_labels_the_most_likely_one():
    subject = several(LogisticRegression())
    codes = target_codes(None, subject, X, 30)
    np.testing.assert_array_equal(codes, subject.probabilities(X).argmax(1))
    with pytest.raises(ParameterError, match=r"no predict_proba.* Or say which .*: target=0"):
        target_codes(None, several(LinearSVC()), X, 30)


def test_bad_targets():
    with pytest.raises(ParameterError, match=r"target holds \['d'\], .* \['a', 'b', 'c'\]"):
        target_codes("d", SUBJECT, X, 30)
    with pytest.raises(ParameterError, match="target has 2 labels, but X has 30 pictures"):
        target_codes(["a", "b"], SUBJECT, X, 30)
    with pytest.raises(ParameterError, match=r"but has shape \(30, 3\)"):
        target_codes(np.zeros((30, 3)), SUBJECT, X, 30)


def test_an_error_shows_some_of_many_classes():
    subject = subject_of(LogisticRegression().fit(np.vstack([X, X]), np.arange(60) // 2), "a test")
    with pytest.raises(ParameterError, match="18, 19] and more"):
        target_codes(77, subject, X, 30)

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sktransfer.exceptions import ParameterError
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

student = partial(make_classifier, backbone=LITE0, image_size=64)


class Oracle(ClassifierMixin, BaseEstimator):
    """Classify pictures by their colour, with the probability given as `sure`."""

    def __init__(self, sure=0.7, classes=(0, 1, 2), shape=None, value=None):
        self.sure = sure
        self.classes = classes
        self.shape = shape
        self.value = value

    def fit(self, X, y):
        self.classes_ = np.array(self.classes)
        return self

    def predict_proba(self, X):
        colours = np.array([np.asarray(picture).mean((0, 1)) for picture in X])
        k = len(self.classes)
        shares = np.full((len(X), k), (1 - self.sure) / (k - 1))
        shares[np.arange(len(X)), colours.argmax(axis=1)[: len(X)] % k] = self.sure
        return shares if self.shape is None else np.full(self.shape, self.value)


X, Y = make_pictures(24, n_classes=3)
TEST, TEST_Y = make_pictures(12, n_classes=3, seed=1)
TEACHER = Oracle().fit(X, Y)


def distance(classifier, teacher):
    return np.abs(classifier.predict_proba(X) - teacher.predict_proba(X)).mean()


@pytest.fixture(scope="module")
def alone():
    return student().fit(X, Y)


def test_the_teacher_alone_is_imitated(alone):
    taught = student(distill_from=TEACHER, distill_weight=1).fit(X, Y)
    assert distance(alone, TEACHER) > 0.1  # without a teacher it is more confident
    assert distance(taught, TEACHER) < 0.02
    assert_array_equal(taught.predict(TEST), TEST_Y)


def test_the_weight_is_the_share_of_the_teacher(alone):
    distances = [
        distance(student(distill_from=TEACHER, distill_weight=weight).fit(X, Y), TEACHER)
        for weight in (0, 0.3, 1)
    ]
    assert distances[0] > distances[1] > distances[2]
    nothing = student(distill_from=TEACHER, distill_weight=0).fit(X, Y)
    assert_allclose(nothing.predict_proba(TEST), alone.predict_proba(TEST), rtol=1e-3)


def test_a_teacher_can_outvote_the_labels():
    wrong = (Y + 1) % 3
    taught = student(distill_from=TEACHER, distill_weight=1).fit(X, wrong)
    assert_array_equal(taught.predict(X), Y)


@pytest.mark.parametrize("temperature", [1, 5])
def test_any_temperature_leads_to_the_same_probabilities(temperature):
    taught = student(
        distill_from=TEACHER, distill_weight=1, distill_temperature=temperature, weight_decay=1e-6
    ).fit(X, Y)
    assert distance(taught, TEACHER) < 0.02


@pytest.mark.parametrize(
    "parameters",
    [
        {"unfreeze_depth": 1, "max_epochs": 2, "lr": 1e-5},
        {"augment": "light", "n_views": 2},
        {"validation_fraction": 0.25},
        {"mixup": 0.2, "max_epochs": 3},
        {"sampling": "oversample"},
        {"loss": "binary_cross_entropy"},
    ],
    ids=str,
)
def test_a_teacher_goes_with(parameters):
    taught = student(distill_from=TEACHER, distill_weight=1, **parameters).fit(X, Y)
    assert distance(taught, TEACHER) < 0.1


def test_a_classifier_of_ours_teaches():
    strings = np.array(["red", "green", "blue"])[Y]
    teacher = student(weight_decay=0.1).fit(X, strings)
    small = make_classifier()
    plain = small.fit(X, strings)
    before = distance(plain, teacher)
    taught = small.set_params(distill_from=teacher, distill_weight=1).fit(X, strings)
    assert distance(taught, teacher) < before
    assert taught.get_params()["distill_from"] is teacher


def test_a_teacher_of_several_labels():
    labels = np.stack([Y == 0, Y != 2], axis=1).astype(int)
    parameters = {"loss": "binary_cross_entropy"}
    teacher = student(weight_decay=0.3, **parameters).fit(X, labels)
    alone = student(**parameters).fit(X, labels)
    taught = student(distill_from=teacher, distill_weight=1, **parameters).fit(X, labels)
    assert distance(taught, teacher) < 0.5 * distance(alone, teacher)


def test_the_same_seed_gives_the_same_student():
    fits = [student(distill_from=TEACHER).fit(X, Y).predict_proba(TEST) for _ in range(2)]
    assert_array_equal(*fits)


def test_a_frozen_teacher_in_a_search():
    search = GridSearchCV(
        student(distill_from=FrozenEstimator(TEACHER)),
        {"distill_weight": [0.0, 1.0], "distill_temperature": [1.0, 4.0]},
        cv=StratifiedKFold(2),
        scoring="accuracy",
        error_score="raise",
    ).fit(X, Y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_.distill_from.estimator is TEACHER


def test_a_search_clones_a_teacher_that_is_not_frozen():
    search = GridSearchCV(student(distill_from=TEACHER), {"lr": [1e-3]}, cv=2, error_score="raise")
    with pytest.raises(ParameterError, match=r"not fitted.*FrozenEstimator"):
        search.fit(X, Y)


# Invalid teachers.


@pytest.mark.parametrize("teacher", [Oracle(), student(), FrozenEstimator(Oracle())])
def test_an_unfitted_teacher_is_an_error(teacher):
    with pytest.raises(ParameterError, match=r"distill_from=.*not fitted.*FrozenEstimator"):
        student(distill_from=teacher).fit(X, Y)


@pytest.mark.parametrize("classes", [(0, 1), (0, 1, 2, 3), (1, 2, 3), ("a", "b", "c"), (0, 2, 1)])
def test_a_teacher_of_other_classes_is_an_error(classes):
    teacher = Oracle(classes=classes).fit(X, Y)
    with pytest.raises(ParameterError, match=r"distill_from knows .*but y has \[0, 1, 2\]"):
        student(distill_from=teacher).fit(X, Y)


@pytest.mark.parametrize(
    ("shape", "value"), [((24, 2), 0.5), ((3, 24, 2), 0.5), ((5, 3), 0.5), ((24, 3), np.nan)]
)
def test_a_teacher_that_gives_no_probabilities_is_an_error(shape, value):
    teacher = Oracle(shape=shape, value=value).fit(X, Y)
    with pytest.raises(ParameterError, match=r"distill_from=Oracle.*shape \(24, 3\)"):
        student(distill_from=teacher).fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"distill_from": "a teacher"}, "distill_from"),
        ({"distill_weight": 1.5}, "distill_weight"),
        ({"distill_weight": -0.1}, "distill_weight"),
        ({"distill_temperature": 0}, "distill_temperature"),
    ],
)
def test_bad_parameters_are_told(parameters, words):
    with pytest.raises(ValueError, match=words):
        student(**parameters).fit(X, Y)

"""Everything that needs no backbone is checked before one is loaded, and before pictures are."""

import numpy as np
import pytest

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier
from sktransfer.activations.streaming import FrozenPass
from sktransfer.estimators import fitted
from tests.conftest import make_pictures

X, Y = make_pictures(12)
SMALL = {"backbone": "squeezenet1_1", "weights": None, "image_size": 32, "device": "cpu"}


class WasReachedError(Exception):
    """The backbone would be loaded, or the pictures read, now."""


def classifier(**parameters):
    return PretrainedImageClassifier(**SMALL | parameters)


@pytest.fixture
def no_backbone(monkeypatch):
    def load(*_):
        raise WasReachedError

    monkeypatch.setattr(fitted, "load_backbone", load)


@pytest.fixture
def no_pass(monkeypatch):
    def collect(*_):
        raise WasReachedError

    monkeypatch.setattr(FrozenPass, "collect", collect)


UNFITTED = PretrainedImageClassifier()


@pytest.mark.parametrize(
    ("parameters", "given", "told"),
    [
        ({"backbone": "resnet19"}, {}, "resnet19"),
        ({"device": "cuda:99"}, {}, "cuda:99"),
        ({"precision": "float16"}, {}, "float16"),
        ({"image_shape": (8, 8)}, {"X": np.zeros((12, 9))}, "64 columns"),
        ({"optimizer": "lbfgs", "dropout": 0.5}, {}, "lbfgs.*dropout"),
        ({"callbacks": [3]}, {}, "callbacks"),
        ({"hidden_layer_sizes": (0,)}, {}, "hidden_layer_sizes"),
        ({"schedule": int}, {}, "schedule"),
        ({"class_weight": {0: -1.0}}, {}, "class_weight"),
        ({"validation_fraction": 0.01}, {}, "validation_fraction"),
        ({"distill_from": UNFITTED}, {}, "distill_from"),
        ({}, {"X": [str(i) for i in range(12)]}, "row 0 of X"),
        ({}, {"y": Y[:4]}, "inconsistent numbers of samples"),
        ({}, {"y": np.eye(2)[Y]}, "several labels per picture"),
        ({}, {"sample_weight": -np.ones(12)}, "sample_weight"),
        ({}, {"validation_data": X}, "validation_data"),
        ({}, {"validation_data": (X, Y + 5)}, "validation_data"),
        ({}, {"validation_data": (["nowhere.png"], [0])}, "nowhere.png"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_backbone")
def test_a_mistake_is_told_before_weights_are_loaded(parameters, given, told):
    with pytest.raises(ValueError, match=told):
        classifier(**parameters).fit(**{"X": X, "y": Y} | given)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"unfreeze_depth": 99}, "unfreeze_depth=99"), ({"image_size": 1}, "image_size=1")],
)
@pytest.mark.usefixtures("no_pass")
def test_what_the_backbone_can_not_do_is_told_before_pictures_are_read(parameters, told):
    with pytest.raises(ValueError, match=told):
        classifier(**parameters).fit(X, Y)


@pytest.mark.usefixtures("no_backbone")
def test_without_a_mistake_the_backbone_is_loaded():
    for estimator in (classifier(), PretrainedFeatureExtractor(**SMALL)):
        with pytest.raises(WasReachedError):
            estimator.fit(X, Y)


def test_pictures_that_train_and_that_validate_go_through_one_pass(monkeypatch):
    seen = []
    original = FrozenPass.collect

    def collect(self, source, *rest):
        seen.append(len(source))
        return original(self, source, *rest)

    monkeypatch.setattr(FrozenPass, "collect", collect)
    classifier(validation_fraction=0.25, random_state=0).fit(X, Y)
    assert seen == [12]
    classifier(random_state=0).fit(X, Y, validation_data=(X[:4], Y[:4]))
    assert seen == [12, 12, 4]

"""The result of a fit: assigned last, pickled without weights that can be found again."""

import copy
import re
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer.estimators.fitted import Architecture, OptimizerState
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import as_images
from sktransfer.selection.decision import Decision
from sktransfer.selection.scores import Score
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

SMALL = {"backbone": "squeezenet1_1", "engine": "torch"}
X, Y = make_pictures(12)


@pytest.fixture(scope="module")
def classifier():
    return make_classifier(**SMALL).fit(X, Y)


def test_a_model_can_not_be_changed(classifier):
    with pytest.raises(FrozenInstanceError):
        classifier._model.temperature = 2.0


def test_scores_are_those_of_the_estimator(classifier):
    model = classifier._model
    scores = model.scores(as_images(X), classifier._prediction_options())
    assert scores.shape == (12, 1, 2)
    assert_array_equal(model.task.probabilities(scores[:, 0]), classifier.predict_proba(X))
    hotter = replace(model, temperature=2.0)
    halved = hotter.scores(as_images(X), classifier._prediction_options())
    assert_array_equal(halved, scores / np.float32(2))


def test_public_attributes_are_those_of_the_model(classifier):
    model = classifier._model
    assert classifier.net_ is model.net
    assert classifier.classes_ is model.classes
    assert classifier.history_ is model.history
    assert classifier.temperature_ == model.temperature
    assert classifier.device_ == model.backbone.device


ARCHITECTURE = Architecture(
    backbone="resnet18",
    weights=None,
    unfreeze_depth=1,
    batch_norm="auto",
    image_size=None,
    pooling="native",
    dropout=0.0,
    hidden_layer_sizes=(8,),
)


@pytest.mark.parametrize("change", [{}, {"unfreeze_depth": 2}, {"unfreeze_depth": "all"}])
def test_a_fit_continues_with_the_same_layers_or_more_that_train(change):
    replace(ARCHITECTURE, **change).check_continues(ARCHITECTURE)


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "resnet34"},
        {"weights": "DEFAULT"},
        {"unfreeze_depth": 0},
        {"batch_norm": "train"},
        {"image_size": 64},
        {"pooling": "max"},
        {"dropout": 0.5},
        {"hidden_layer_sizes": ()},
    ],
    ids=str,
)
def test_other_layers_are_told_by_their_parameter(change):
    ((name, value),) = change.items()
    was = getattr(ARCHITECTURE, name)
    told = re.escape(f"{name} was {was!r} in it and is {value!r} now")
    with pytest.raises(ParameterError, match=told):
        replace(ARCHITECTURE, **change).check_continues(ARCHITECTURE)


def test_stages_that_all_trained_can_not_freeze_again():
    with pytest.raises(ParameterError, match="unfreeze_depth"):
        ARCHITECTURE.check_continues(replace(ARCHITECTURE, unfreeze_depth="all"))


def test_the_state_of_an_optimizer_is_for_the_same_optimizer_and_stages():
    kept = OptimizerState("adam", 1, {0: {}})
    assert kept.known_to("adam", 1) == {0: {}}
    assert kept.known_to("sgd", 1) is None
    assert kept.known_to("adam", 2) is None


@pytest.mark.parametrize(
    ("change", "y"),
    [
        ({"n_jobs": 0}, Y),
        ({"n_views": 2}, Y),
        ({"unfreeze_depth": 99}, Y),
        ({"image_size": 1}, Y),
        ({"backbone": "nonsense"}, Y),
        ({"weights": "nowhere.pth"}, Y),
        ({}, Y[:5]),
        ({}, np.full(12, 7)),
        ({"image_shape": (8, 8)}, Y),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_that_fails_leaves_the_earlier_one_as_it_was(classifier, change, y, method):
    fitted = copy.copy(classifier)
    fitted.set_params(**change)
    before = dict(vars(fitted))
    given = X.reshape(12, -1) if "image_shape" in change else X
    with pytest.raises((ValueError, OSError)):
        getattr(fitted, method)(given, y)
    assert vars(fitted) == before
    fitted.set_params(n_jobs=None)
    assert_array_equal(fitted.predict(X), classifier.predict(X))


def test_an_extractor_whose_fit_fails_stays_as_it_was():
    extractor = make_extractor(**SMALL).fit(X)
    before = dict(vars(extractor))
    expected = extractor.transform(X)
    with pytest.raises(ValueError, match="stage"):
        extractor.set_params(stage="nowhere").fit(X)
    assert vars(extractor) == before | {"stage": "nowhere"}
    assert_array_equal(extractor.transform(X), expected)


def test_decisions_are_those_that_have_evidence(classifier):
    model = classifier._model
    assert model.decisions() == []
    scores = {"crop": Score(-1.0, 0.0, 0.0), "squash": Score(-1.5, -0.5, 0.1)}
    decided = replace(model, resize_scores=scores)
    assert decided.decisions() == [Decision("resize", "crop", scores)]

"""The steps of a fit that need the backbone; what fits predict is tested in test_classifier.py."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sktransfer.backbones.networks import build_random
from sktransfer.estimators.checked_input import FitArguments, checked_input
from sktransfer.estimators.fit_model import fit_model
from sktransfer.exceptions import WeightsError
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

X, Y = make_pictures(16)
NAMES = np.array(["ant", "bee"])


def model_of(classifier, earlier=None, y=NAMES[Y], **arguments):
    given = FitArguments(X, y, None, **arguments)
    return fit_model(classifier, checked_input(classifier, given, earlier), earlier)


def test_the_classifier_is_left_as_it_is():
    classifier = make_classifier()
    before = dict(vars(classifier))
    model = model_of(classifier)
    assert vars(classifier) == before
    assert_array_equal(model.classes, NAMES)


def test_the_model_is_that_of_fit():
    classifier = make_classifier(hidden_layer_sizes=4, max_epochs=1)
    model = model_of(classifier)
    classifier.fit(X, NAMES[Y])
    assert model.history == classifier.history_
    classifier._model = model
    assert_array_equal(classifier.predict_proba(X), classifier.fit(X, NAMES[Y]).predict_proba(X))


def test_a_continued_fit_has_the_epochs_of_both():
    classifier = make_classifier(hidden_layer_sizes=4, max_epochs=2)
    first = model_of(classifier)
    second = model_of(classifier, first)
    assert second.history[:2] == first.history
    assert len(second.history) == 4
    assert len(first.history) == 2


@pytest.mark.parametrize("in_pieces", [True, False])
def test_only_pieces_keep_the_state_of_the_optimizer(in_pieces):
    classifier = make_classifier(hidden_layer_sizes=4, max_epochs=1)
    state = model_of(classifier, in_pieces=in_pieces).optimizer_state
    assert (state.known_to("auto", 0) is not None) == in_pieces


def test_the_temperature_is_1_unless_the_model_is_calibrated():
    classifier = make_classifier(validation_fraction=0.25)
    assert model_of(classifier).temperature == 1.0
    assert model_of(classifier.set_params(calibrate="temperature")).temperature != 1.0


@pytest.mark.parametrize(("weights", "same"), [(None, False), ("DEFAULT", True)])
def test_only_random_weights_depend_on_the_seed(weights, same):
    backbones = [
        model_of(make_classifier(backbone=LITE0, weights=weights, random_state=seed))
        for seed in (0, 1)
    ]
    one, other = (model.backbone.reference.digest for model in backbones)
    assert (one == other) == same


def test_other_weights_can_not_continue_a_fit(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(build_random("mnasnet0_5", 0).state_dict(), path)
    classifier = make_classifier(weights=str(path))
    earlier = model_of(classifier)
    torch.save(build_random("mnasnet0_5", 1).state_dict(), path)
    with pytest.raises(WeightsError, match="not the ones"):
        model_of(classifier, earlier)

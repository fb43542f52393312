"""Checks of a fit that need no backbone, and their result."""

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sktransfer.estimators import fitted_backbone
from sktransfer.estimators.checked_input import FitArguments, checked_input
from sktransfer.exceptions import ParameterError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

X, Y = make_pictures(16)
NAMES = np.array(["ant", "bee"])
ROWS = X.reshape(16, -1)


def checked(classifier=None, earlier=None, **given):
    classifier = make_classifier() if classifier is None else classifier
    arguments = {"X": X, "y": NAMES[Y], "sample_weight": None, **given}
    return checked_input(classifier, FitArguments(**arguments), earlier)


class BackboneIsLoadedError(Exception):
    """Raised in place of loading a backbone."""


@pytest.fixture
def no_backbone(monkeypatch):
    def load(*_):
        raise BackboneIsLoadedError

    monkeypatch.setattr(fitted_backbone, "load_backbone", load)


UNFITTED = make_classifier()


@pytest.mark.parametrize(
    ("parameters", "given", "told"),
    [
        ({"backbone": "resnet19"}, {}, "resnet19"),
        ({"device": "cuda:99"}, {}, "cuda:99"),
        ({"precision": "float16"}, {}, "float16"),
        ({"image_shape": (8, 8)}, {"X": np.zeros((16, 9))}, "64 columns"),
        ({"optimizer": "lbfgs", "dropout": 0.5}, {}, "lbfgs.*dropout"),
        ({"callbacks": [3]}, {}, "callbacks"),
        ({"hidden_layer_sizes": (0,)}, {}, "hidden_layer_sizes"),
        ({"schedule": int}, {}, "schedule"),
        ({"class_weight": {0: -1.0}}, {}, "class_weight"),
        ({"validation_fraction": 0.01}, {}, "validation_fraction"),
        ({"distill_from": UNFITTED}, {}, "distill_from"),
        ({}, {"X": [str(i) for i in range(16)]}, "row 0 of X"),
        ({}, {"y": Y[:4]}, "inconsistent numbers of samples"),
        ({}, {"y": np.eye(2)[Y]}, "several labels per picture"),
        ({}, {"sample_weight": -np.ones(16)}, "sample_weight"),
        ({}, {"validation_data": X}, "validation_data"),
        ({}, {"validation_data": (X, Y + 5)}, "validation_data"),
        ({}, {"validation_data": (["nowhere.png"], [0])}, "nowhere.png"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_backbone")
def test_a_mistake_is_told_before_weights_are_loaded(parameters, given, told):
    with pytest.raises(ValueError, match=told):
        make_classifier(**parameters).fit(**{"X": X, "y": Y} | given)


@pytest.mark.usefixtures("no_backbone")
def test_without_a_mistake_the_backbone_is_loaded():
    for estimator in (make_classifier(), make_extractor()):
        with pytest.raises(BackboneIsLoadedError):
            estimator.fit(X, Y)


def test_the_classifier_is_left_as_it_is():
    classifier = make_classifier(image_shape=(32, 32, 3))
    before = dict(vars(classifier))
    found = checked(classifier, X=ROWS)
    assert vars(classifier) == before
    assert found.columns == {"n_features_in_": ROWS.shape[1]}
    with pytest.raises(FrozenInstanceError):
        found.labels = None


def test_labels_and_weights_are_for_all_rows_and_settings_for_those_that_train():
    weights = np.where(np.arange(16) < 4, 0.0, 2.0)
    found = checked(make_classifier(validation_fraction=0.25), sample_weight=weights)
    assert_array_equal(found.labels.classes, NAMES)
    assert_array_equal(found.labels.y, Y)
    assert_array_equal(found.weights, weights)
    assert len(found.split.train) == 9
    assert len(found.split.held_out) == 3
    assert found.settings.piece is None


def test_a_list_that_changes_later_changes_nothing():
    layers = [4]
    found = checked(make_classifier(hidden_layer_sizes=layers))
    layers[0] = 8
    assert found.architecture.hidden_layer_sizes == found.settings.hidden_layer_sizes == (4,)


def test_the_same_seed_draws_the_same():
    first, again, other = (checked(make_classifier(random_state=seed)).seeds for seed in (0, 0, 1))
    assert first == again != other
    assert checked(make_classifier(random_state=0)).settings.seed == first.training


def test_validation_data_have_the_classes_of_y():
    images, labels = checked(validation_data=(X[:3], ["bee", "ant", "bee"])).validation
    assert len(images) == 3
    assert labels.y.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (X, "must be a pair"),
        (3, "must be a pair"),
        ((X, ["cat"] * 16), "can't be used: y holds \\['cat'\\]"),
        ((X, NAMES[Y][:3]), "can't be used: Found input variables"),
    ],
    ids=["pictures", "number", "classes", "length"],
)
def test_other_validation_data_are_errors(data, told):
    with pytest.raises(ValueError, match=f"validation_data {told}"):
        checked(validation_data=data)


def test_a_piece_counts_by_the_mean_of_its_weights():
    found = checked(in_pieces=True, sample_weight=np.where(np.arange(16) < 4, 0.0, 3.0))
    assert found.settings.piece.weight == 3.0
    assert found.settings.max_epochs == 1
    assert len(found.split.train) == 12


def test_the_first_piece_may_lack_classes_that_are_named():
    found = checked(y=["bee"] * 16, classes=["bee", "cat", "ant"], in_pieces=True)
    assert found.labels.classes.tolist() == ["ant", "bee", "cat"]
    assert set(found.labels.y) == {1}


def test_later_pieces_have_the_columns_of_the_first():
    classifier = make_classifier(image_shape=(32, 32, 3)).partial_fit(ROWS, NAMES[Y])
    model = classifier._model
    assert checked(classifier, model, X=ROWS, in_pieces=True).seeds.split == model.seeds.split
    with pytest.raises(ValueError, match="features"):
        checked(classifier, model, X=ROWS[:, :300], in_pieces=True)


def test_a_continued_fit_can_not_have_another_head():
    classifier = make_classifier(warm_start=True).fit(X, NAMES[Y])
    with pytest.raises(ParameterError, match="hidden_layer_sizes was \\(\\)"):
        checked(classifier.set_params(hidden_layer_sizes=4), classifier._model)


FLAT = pd.DataFrame(ROWS).rename(columns="p{}".format)


def test_validation_data_have_the_columns_of_x_and_not_of_an_earlier_fit():
    classifier = make_classifier(image_shape=(32, 32, 3)).fit(FLAT, Y)
    small = FLAT.iloc[:, : 16 * 16 * 3].rename(columns="q{}".format)
    classifier.set_params(image_shape=(16, 16, 3))
    classifier.fit(small, Y, validation_data=(small, Y))
    assert classifier.n_features_in_ == 16 * 16 * 3


def test_validation_data_in_another_order_of_columns_are_told():
    classifier = make_classifier(image_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="same order"):
        classifier.fit(FLAT, Y, validation_data=(FLAT[FLAT.columns[::-1]], Y))
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.fit(FLAT, Y, validation_data=(FLAT.iloc[:, 1:], Y))

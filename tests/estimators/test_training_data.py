"""Pictures, labels and weights become stored activations and targets."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyClassifier

from sktransfer.activations.streaming import FrozenPass
from sktransfer.activations.views import FixedViews
from sktransfer.estimators.checked_input import FitArguments, checked_input
from sktransfer.estimators.training_data import ViewSettings, split_network, training_data
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier

X, Y = make_pictures(12)


def data_of(teacher=None, views=(None, None), sample_weight=None, validation=None, **parameters):
    """Make the training data of a fit."""
    classifier = make_classifier(backbone="squeezenet1_1", **parameters)
    arguments = FitArguments(X, Y, sample_weight, validation_data=validation)
    given = checked_input(classifier, arguments, None)
    backbone = classifier._fitted_backbone(given.choice, "crop")
    frozen, stages = split_network(given.architecture, backbone)
    one_pass = backbone.frozen_pass(frozen, classifier._run_options(), "Running", may_map=1)
    views = ViewSettings(*views, keep=False)
    return training_data(given, one_pass, stages, views, teacher=teacher)


@pytest.fixture
def passes(monkeypatch):
    """The number of pictures in each pass."""
    seen, original = [], FrozenPass.collect

    def collect(self, source, *rest, **options):
        seen.append(len(source))
        return original(self, source, *rest, **options)

    monkeypatch.setattr(FrozenPass, "collect", collect)
    return seen


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"unfreeze_depth": 99}, "unfreeze_depth=99"), ({"image_size": 1}, "image_size=1")],
)
def test_the_backbone_refuses_before_pictures_are_read(passes, parameters, told):
    with pytest.raises(ValueError, match=told):
        make_classifier(backbone="squeezenet1_1", **parameters).fit(X, Y)
    assert passes == []


def test_pictures_that_train_and_that_validate_go_through_one_pass(passes):
    data = data_of(validation_fraction=0.25)
    assert passes == [12]
    assert (len(data.rows), len(data.validation)) == (9, 3)
    data_of(validation=(X[:4], Y[:4]))
    assert passes == [12, 12, 4]


def test_targets_are_the_labels_and_weights_of_the_rows():
    weights = np.where(np.arange(12) < 4, 0.0, 2.0)
    data = data_of(sample_weight=weights)
    assert data.validation is None
    assert_array_equal(data.rows.targets.y, Y[4:])
    assert_array_equal(data.rows.targets.weights, np.ones(8))  # scaled to a mean of 1


def test_all_stages_are_frozen_or_trained():
    assert len(data_of().stages) == 0
    assert len(data_of(unfreeze_depth=2).stages) >= 2
    assert data_of().earlier_head is None


def test_validation_data_weigh_the_same():
    data = data_of(validation=(X[:4], Y[:4]))
    assert_array_equal(data.validation.targets.y, Y[:4])
    assert_array_equal(data.validation.targets.weights, np.ones(4))


def test_held_out_pictures_are_not_augmented():
    plain = data_of(validation_fraction=0.25)
    augmented = data_of(views=("standard", 2), validation_fraction=0.25)
    assert_array_equal(augmented.validation.targets.y, plain.validation.targets.y)
    torch.testing.assert_close(augmented.validation[:][0], plain.validation[:][0])
    assert not torch.allclose(augmented.rows[:][0], plain.rows[:][0])


@pytest.mark.parametrize(("n_views", "fixed"), [(2, True), (None, False)])
def test_views_are_fixed_or_new_in_each_epoch(n_views, fixed):
    rows = data_of(views=("light", n_views)).rows
    assert isinstance(rows.views, FixedViews) == fixed


@pytest.mark.parametrize("views", [(None, None), ("light", 2)])
def test_a_teacher_gives_shares_of_the_rows_that_train(views):
    teacher = DummyClassifier(strategy="stratified", random_state=0).fit(X, Y)
    rows = data_of(teacher, views, validation_fraction=0.25, distill_temperature=1.0).rows
    train = checked_input(
        make_classifier(validation_fraction=0.25), FitArguments(X, Y, None), None
    ).split.train
    expected = teacher.predict_proba(X)[train]
    torch.testing.assert_close(rows.targets.teacher, torch.tensor(expected).float())

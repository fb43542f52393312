"""The head that gradient descent begins with."""

import pytest
import torch
from torch import nn

from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import TrainingData
from sktransfer.training.first_head import first_head, random_head
from sktransfer.training.head import Dropout, NormalisedLinear, Scaled
from sktransfer.training.phases import Phase, records
from tests.backbones.helpers import same_values, values_of
from tests.training.helpers import (
    CLASSES,
    feature_rows,
    map_rows,
    settings_of,
    small_stages,
    zero_linear,
)

FILES = CheckpointFiles(None, str)
LAYERS = {"hidden_layer_sizes": (5,)}


def first(stages=None, rows=None, earlier_head=None, **settings):
    """Make the first head, with stages or on features."""
    stages = small_stages() if stages is None else stages
    rows = map_rows() if rows is None else rows
    data = TrainingData(stages, rows, earlier_head=earlier_head)
    return first_head(settings_of(**{"max_epochs": 1, **settings}), data, FILES)


def on_features(**settings):
    return first(TrainableStages(), feature_rows(), **settings)


def test_an_earlier_head_is_used_as_it_is():
    head = nn.Sequential(zero_linear())
    found = first(earlier_head=head)
    assert found.head is head
    assert found == (head, True, [], None, None)


def test_a_linear_head_is_solved_before_stages_train():
    found = first()
    assert found.learned
    assert found.history == records(found.net, Phase.PROBE) != []
    assert isinstance(found.head[-1], NormalisedLinear)
    assert found.head[-1] is found.net.module_


def test_hidden_layers_are_trained_before_stages_train():
    found = first(**LAYERS)
    assert found.learned
    assert found.history == records(found.net, Phase.HEAD)
    assert len(found.net.history) >= 10  # however few epochs the stages get


@pytest.mark.parametrize("settings", [{}, LAYERS], ids=str)
def test_stages_stay_as_they_are(settings):
    stages = small_stages()
    first(stages, **settings)
    assert same_values(values_of(stages), values_of(small_stages()))


@pytest.mark.parametrize(
    "found",
    [
        lambda: first(head_init="random"),
        lambda: first(head_init="random", **LAYERS),
        lambda: on_features(**LAYERS),
    ],
)
def test_a_random_head_is_not_trained(found):
    assert found()[1:] == (False, [], None, None)


def test_dropout_comes_before_a_solved_head():
    assert [type(layer) for layer in first(dropout=0.5).head] == [Dropout, NormalisedLinear]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_head_comes_from_the_seed(seed):
    heads = [
        random_head(settings_of(seed=s, **LAYERS), small_stages(), map_rows()) for s in (0, seed)
    ]
    assert same_values(*map(values_of, heads)) == (seed == 0)


def test_a_random_head_scales_features_that_stay_as_they_are():
    rows, settings = feature_rows(), settings_of(**LAYERS)
    head = random_head(settings, TrainableStages(), rows)
    assert isinstance(head[0], Scaled)
    scores = head(rows[:][0])
    assert scores.shape == (len(rows), CLASSES)
    assert torch.isfinite(scores).all()
    assert not isinstance(random_head(settings, small_stages(), map_rows())[0], Scaled)


def test_a_head_that_stages_will_train_with_fits_its_rows_less_closely():
    def loss(found):
        return found.history[-1]["train_loss"]

    assert loss(first()) > 1.2 * loss(first(weight_decay=1e-4))
    assert loss(on_features(dropout=0.5)) == loss(on_features(dropout=0.5, weight_decay=1e-4))

"""Gradient descent on a module; its place among the phases is tested in test_train.py."""

import pytest
import torch
from torch import nn

from sktransfer.exceptions import ShortTrainingWarning
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.descend import descend
from sktransfer.training.module import TransferModule
from sktransfer.training.pace import epochs
from sktransfer.training.phases import Phase
from tests.backbones.helpers import same_values, values_of
from tests.training.helpers import (
    CLASSES,
    feature_rows,
    map_rows,
    module_of,
    settings_of,
    small_stages,
    zero_linear,
)


def descended(module, rows, validation=None, phase=Phase.HEAD, *, continues=False, **settings):
    usual = {"lr": 1e-2, "max_epochs": 2, "batch_size": 8}
    files = CheckpointFiles(None, str)
    settings = settings_of(**{**usual, **settings})
    return descend(settings, module, rows, validation, phase, files, continues=continues)


def tuned(**settings):
    """Train a head and stages together."""
    module = TransferModule(small_stages(), nn.Sequential(zero_linear()))
    return descended(module, map_rows(), phase=Phase.FINE_TUNE, **settings)


def test_the_module_is_trained_in_place():
    module = module_of(zero_linear())
    net = descended(module, feature_rows())
    assert net.module_ is module
    assert not same_values(values_of(module), values_of(module_of(zero_linear())))


def test_the_same_seed_gives_the_same_weights():
    first, again, other = (tuned(seed=seed).module_ for seed in (0, 0, 1))
    assert same_values(values_of(first), values_of(again))
    assert not same_values(values_of(first), values_of(other))


def test_each_stage_has_a_rate_of_its_own():
    groups = tuned(schedule=None, lr_decay=0.5).optimizer_.param_groups
    assert [group["lr"] for group in groups] == pytest.approx([0.0025, 0.005, 0.01])


def test_auto_is_ten_epochs_for_a_head_that_is_not_random():
    net = descended(module_of(zero_linear()), feature_rows(), max_epochs="auto")
    assert len(net.history) == epochs("auto")


@pytest.mark.parametrize("sampling", [None, "oversample", "undersample"])
def test_scaled_weights_teach_the_same(sampling):
    rows = feature_rows()
    heavy = rows.with_weights(1000 * rows.targets.weights)
    one, other = (
        descended(module_of(zero_linear()), given, sampling=sampling) for given in (rows, heavy)
    )
    torch.testing.assert_close(one.scores_of(rows), other.scores_of(rows))


def test_heavy_pieces_count_for_more():
    """Plain gradients, because AdamW would scale the weight away."""
    moved = []
    for weight in (1.0, 2.0):
        module = module_of(zero_linear())
        piece = settings_of(optimizer="sgd", lr=1e-3, batch_size=26, weight_decay=0.0)
        piece = piece.for_a_piece(None, weight)
        descend(piece, module, feature_rows(), None, Phase.HEAD, CheckpointFiles(None, str))
        moved.append(module.head[0].weight.detach())
    torch.testing.assert_close(moved[1], 2 * moved[0])


@pytest.mark.parametrize("continues", [True, False])
def test_early_stopping_keeps_a_beginning_that_had_learned(continues):
    head = nn.Sequential(zero_linear())
    module = TransferModule(small_stages(), head)
    net = descended(
        module,
        map_rows(),
        map_rows(seed=1),
        Phase.FINE_TUNE,
        continues=continues,
        early_stopping=True,
        lr=1e3,  # every epoch makes it worse
        schedule=None,
    )
    assert net.kept_beginning_ == continues
    assert bool(head[0].weight.any()) != continues


def test_training_that_ends_while_the_loss_falls_fast_warns():
    with pytest.warns(ShortTrainingWarning, match="after 4 epochs"):
        descended(module_of(zero_linear()), feature_rows(), max_epochs=4, lr=3e-2, schedule=None)


def test_mixup_and_cutmix_turn_mixing_on():
    assert tuned().mixing is None
    for mixed in ({"mixup": 0.2}, {"cutmix": 1.0}):
        mixing = tuned(**mixed).mixing
        assert mixing.n_classes == CLASSES

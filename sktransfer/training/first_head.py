"""The head that the last phase begins with: an earlier one, a random one, or one trained first."""

from typing import NamedTuple

import torch
from torch import nn

from sktransfer._common.random import seeded
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows, all_batches
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import TrainingData
from sktransfer.training.descend import descend
from sktransfer.training.head import Dropout, NormalisedLinear, Scaled, build_head
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.phases import Phase
from sktransfer.training.probe_check import Mistakes, probe_mistakes
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solve_head import solve_head

# Rows that tell how large features are: enough for a root mean square, and quick to compute.
_ROWS_FOR_A_SCALE = 256


class FirstHead(NamedTuple):
    """A head, and how it came to be.

    Parameters
    ----------
    head : Sequential
    learned : bool
        It is not random.
    phase : Phase or None
        The phase in which it was trained on features, if it was trained now.
    net : TransferNet or None
        What trained it then.
    mistakes : Mistakes or None
        Those of such heads, cross-validated, where they decide whether stages train.
    """

    head: nn.Sequential
    learned: bool
    phase: Phase | None = None
    net: TransferNet | None = None
    mistakes: Mistakes | None = None


def first_head(settings: TrainingSettings, data: TrainingData, files: CheckpointFiles) -> FirstHead:
    """The head that gradient descent begins with."""
    if data.earlier_head is not None:
        _scale_for_descent(data.earlier_head[-1], data.stages)
        return FirstHead(data.earlier_head, learned=True)
    # Hidden layers on frozen features are trained by descent alone: there is nothing to do first.
    if settings.head_init == "random" or (settings.hidden_layer_sizes and not len(data.stages)):
        return FirstHead(random_head(settings, data.stages, data.rows), learned=False)
    alone = settings.for_the_head_alone()
    features = _on_features(settings, data) if len(data.stages) else data
    if settings.hidden_layer_sizes:
        return _trained(alone, features, files)
    return _solved(alone, features, data.stages, files)


def random_head(settings: TrainingSettings, stages: TrainableStages, rows: Rows) -> nn.Sequential:
    """A head of random values, drawn from the seed."""
    some = torch.linspace(0, len(rows) - 1, min(len(rows), _ROWS_FOR_A_SCALE)).long()
    features = _features(settings, stages, rows.drawn(some))(0)
    with seeded(settings.seed, settings.device):
        head = build_head(
            features.shape[1],
            settings.hidden_layer_sizes,
            settings.dropout,
            settings.n_classes,
        )
    # Stages that train change the scale of what they give.
    return head if len(stages) else nn.Sequential(Scaled(features), *head)


def _trained(alone: TrainingSettings, features: TrainingData, files: CheckpointFiles) -> FirstHead:
    """A head with hidden layers, trained on fixed features."""
    head = random_head(alone, features.stages, features.rows)
    module = TransferModule(features.stages, head)
    net = descend(alone, module, features.rows, features.validation, Phase.HEAD, files)
    return FirstHead(head, learned=True, phase=Phase.HEAD, net=net)


def _solved(
    alone: TrainingSettings,
    features: TrainingData,
    stages: TrainableStages,
    files: CheckpointFiles,
) -> FirstHead:
    """A linear head, solved, and the mistakes of such heads where they decide something."""
    net = solve_head(alone, features.rows, features.validation, files)
    linear = net.module_.float()
    _scale_for_descent(linear, stages)
    dropout = [Dropout(alone.dropout)] if alone.dropout else []
    mistakes = None
    if len(stages) and not net.interrupted_:
        try:
            mistakes = probe_mistakes(alone, features.rows)
        except KeyboardInterrupt:  # the head is solved and can be used, as in any other phase
            net.interrupted_ = True
    head = nn.Sequential(*dropout, linear)
    return FirstHead(head, learned=True, phase=Phase.PROBE, net=net, mistakes=mistakes)


def _on_features(settings: TrainingSettings, data: TrainingData) -> TrainingData:
    """The data of a head alone: what the stages make of the rows before they train."""
    rows, validation = data.rows, data.validation
    return TrainingData(
        stages=TrainableStages(),
        rows=rows.with_X(_features(settings, data.stages, rows)),
        validation=validation and validation.with_X(_features(settings, data.stages, validation)),
    )


def _features(settings: TrainingSettings, stages: TrainableStages, rows: Rows) -> FixedViews:
    """What the stages make of stored activations, in evaluation mode; where the rows lie."""
    stages.to(settings.device).eval()
    with torch.no_grad():
        batches = all_batches(rows, settings.batch_size)
        features = [stages(X.to(settings.device)).flatten(1).to(rows.device) for X, _ in batches]
    return FixedViews(torch.cat(features).split(len(rows)))


def _scale_for_descent(linear: nn.Module, stages: TrainableStages) -> None:
    """Give a solved head, in place, the scale in which the steps of an optimizer suit it."""
    if isinstance(linear, NormalisedLinear):
        # Beside stages that train, the head must not run ahead; alone it is to get somewhere.
        linear.per_row() if len(stages) else linear.per_feature()

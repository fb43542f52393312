"""The head with which gradient descent begins: an earlier, a random, or a trained one."""

from typing import NamedTuple

import torch
from torch import nn

from sktransfer._common.random import seeded
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows, all_batches
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import History, TrainingData
from sktransfer.training.descend import descend
from sktransfer.training.head import Dropout, NormalisedLinear, Scaled, build_head
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.phases import Phase, records
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solve_head import solve_head

# Rows from which `Scaled` measures the size of features.
_ROWS_FOR_A_SCALE = 256


class FirstHead(NamedTuple):
    """A head, and the training that it comes from.

    Parameters
    ----------
    head : Sequential
    learned : bool
        Its weights are not random.
    history : list of dict
        Records of the phase that trained it on fixed features; none if it is earlier or random.
    net : TransferNet or None
        The net of that phase.
    features : FixedViews or None
        Features of the training rows that it was trained on, if stages will train with it.
    """

    head: nn.Sequential
    learned: bool
    history: History
    net: TransferNet | None = None
    features: FixedViews | None = None


def first_head(settings: TrainingSettings, data: TrainingData, files: CheckpointFiles) -> FirstHead:
    """The head with which gradient descent begins, trained on the features of the stages first.

    Features are computed once for it, since the stages do not train with it.
    """
    if data.earlier_head is not None:
        _scale_for_descent(data.earlier_head[-1], data.stages)
        return FirstHead(data.earlier_head, learned=True, history=[])
    # On frozen features there is no phase before the last, which trains hidden layers alone anyway.
    if settings.head_init == "random" or (settings.hidden_layer_sizes and not len(data.stages)):
        head = random_head(settings, data.stages, data.rows)
        return FirstHead(head, learned=False, history=[])
    alone = settings.for_the_head_alone()
    features = _on_features(settings, data) if len(data.stages) else data
    if settings.hidden_layer_sizes:
        first = _trained(alone, features, files)
    else:
        first = _solved(alone, features, data.stages, files)
    views = features.rows.views
    return first._replace(features=views) if isinstance(views, FixedViews) else first


def random_head(settings: TrainingSettings, stages: TrainableStages, rows: Rows) -> nn.Sequential:
    """A head with random weights, drawn from the seed."""
    some = torch.linspace(0, len(rows) - 1, min(len(rows), _ROWS_FOR_A_SCALE)).long()
    features = untrained_features(settings, stages, rows.drawn(some))(0)
    with seeded(settings.seed, settings.device):
        head = build_head(
            features.shape[1],
            settings.hidden_layer_sizes,
            settings.dropout,
            settings.n_classes,
        )
    # Not where stages train: they change the scale of the features.
    return head if len(stages) else nn.Sequential(Scaled(features), *head)


def _trained(alone: TrainingSettings, features: TrainingData, files: CheckpointFiles) -> FirstHead:
    """A head with hidden layers, trained on fixed features."""
    head = random_head(alone, features.stages, features.rows)
    module = TransferModule(features.stages, head)
    net = descend(alone, module, features.rows, features.validation, Phase.HEAD, files)
    return FirstHead(head, learned=True, history=records(net, Phase.HEAD), net=net)


def _solved(
    alone: TrainingSettings,
    features: TrainingData,
    stages: TrainableStages,
    files: CheckpointFiles,
) -> FirstHead:
    """A solved linear head, on the scale of features that suits the optimizer that follows."""
    alone = alone.for_a_solved_head(before_stages=bool(len(stages)))
    net = solve_head(alone, features.rows, features.validation, files)
    linear = net.module_.float()
    _scale_for_descent(linear, stages)
    dropout = [Dropout(alone.dropout)] if alone.dropout else []
    head, history = nn.Sequential(*dropout, linear), records(net, Phase.PROBE)
    return FirstHead(head, learned=True, history=history, net=net)


def _on_features(settings: TrainingSettings, data: TrainingData) -> TrainingData:
    """The features that the stages compute before they train, as data for a head alone."""
    rows, validation = data.rows, data.validation
    return TrainingData(
        stages=TrainableStages(),
        rows=rows.with_X(untrained_features(settings, data.stages, rows)),
        validation=validation
        and validation.with_X(untrained_features(settings, data.stages, validation)),
    )


def untrained_features(
    settings: TrainingSettings, stages: TrainableStages, rows: Rows
) -> FixedViews:
    """Outputs of the stages in evaluation mode, on the device of the rows."""
    stages.to(settings.device).eval()
    with torch.no_grad():
        batches = all_batches(rows, settings.batch_size)
        features = [stages(X.to(settings.device)).flatten(1).to(rows.device) for X, _ in batches]
    return FixedViews(torch.cat(features).split(len(rows)))


def _scale_for_descent(linear: nn.Module, stages: TrainableStages) -> None:
    """Give a solved head, in place, the scale that suits an optimizer's steps."""
    if isinstance(linear, NormalisedLinear):
        # On the scale of rows the head learns slowly, and does not run ahead of stages that train
        # with it; on that of single features it learns fast enough to train alone.
        linear.per_row() if len(stages) else linear.per_feature()

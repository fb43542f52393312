"""Features of stages that train are held near those that the pretrained weights give."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.first_head import FirstHead, untrained_features
from sktransfer.training.head import NormalisedLinear, has_length, mean_and_length
from sktransfer.training.losses import Targets
from sktransfer.training.pace import feature_penalty
from sktransfer.training.settings import TrainingSettings


class Held(NamedTuple):
    """Rows to train on, and how strongly they are held.

    Parameters
    ----------
    rows : Rows
        With features to stay near, if they are held at all.
    strength : float
        Factor of the squared distance in the loss.
    """

    rows: Rows
    strength: float


def held(settings: TrainingSettings, stages: TrainableStages, rows: Rows, first: FirstHead) -> Held:
    """Rows held near the features that the stages give them before they train.

    The penalty is that of Li et al., "DELTA: Deep Learning Transfer using Feature Map with
    Attention", ICLR 2019, eq. 3, on the features alone and without their attention.

    Parameters
    ----------
    settings : TrainingSettings
    stages : TrainableStages
        Before they train.
    rows : Rows
        Activations of the frozen stages.
    first : FirstHead
        The head with which the stages begin to train.
    """
    # Random weights have no features that are worth keeping, nor has a random head learned them.
    worth = first.learned and stages.pretrained
    strength = feature_penalty(settings.feature_penalty, pretrained=worth) if len(stages) else 0.0
    if not strength:
        return Held(rows, 0.0)
    views = first.features or untrained_features(settings, stages, rows)
    # All views of a picture are held near the mean of its known views.
    start = torch.stack(list(views.known())).mean(0).to(rows.device)
    spread = _spread(first.head[-1], start, rows.targets.weights)
    if not spread:  # equal features have no scale
        return Held(rows, 0.0)
    return Held(rows.held_near(start), strength / spread)


def _spread(last: nn.Module, features: Tensor, weights: Tensor) -> float:
    """Mean squared length of centred features; with it their scale has no meaning."""
    if isinstance(last, NormalisedLinear):
        # That of all rows that it was solved for: the rows of a later piece may be nearly equal.
        return last.spread
    mean, length = mean_and_length(lambda: [(features, Targets(weights, weights))])
    return float(length) ** 2 if has_length(mean, length) else 0.0

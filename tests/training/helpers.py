"""Small stages, rows, settings and nets that several test files train."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from sktransfer import PretrainedImageClassifier
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.estimators.labels import Labels
from sktransfer.estimators.settings import training_settings
from sktransfer.training.batches import Rows
from sktransfer.training.losses import RowLoss, as_loss
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.task import OneLabel

CLASSES = 3


def maps(n=26, seed=0):
    """Maps (n, 2, 4, 4) whose first channel grows with the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    X = torch.randn(n, 2, 4, 4, generator=generator)
    X[:, 0] += 1.5 * y[:, None, None]
    return X, y


def map_rows(n=26, seed=0, n_views=1):
    """Rows of maps, in views that differ a little."""
    X, y = maps(n, seed)
    noise = torch.randn(n_views, *X.shape, generator=torch.Generator().manual_seed(seed + 1))
    return Rows(FixedViews([X, *(X + 0.3 * noise[1:])]), y)


def feature_rows(n=26, seed=0):
    """Rows of features that are not quite separable, of unequal weights."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    X = 5 + torch.randn(n, 6, generator=generator) + torch.eye(CLASSES, 6)[y]
    weights = 0.5 + 1.5 * torch.rand(n, generator=generator)
    return Rows(X, y, weights / weights.mean())


def small_stages(*, fixed_statistics=True, seed=0):
    """Two stages that make six features of maps (n, 2, 4, 4)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        low = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        high = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return TrainableStages(
        [("low", low), ("high", high)],
        fixed_statistics=fixed_statistics,
        depths={"low": 2, "high": 1},
    )


def zero_linear(n_features=6):
    """A linear layer of zeros."""
    linear = nn.Linear(n_features, CLASSES)
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
    return linear


def module_of(*layers):
    """A module of a head alone."""
    return TransferModule(TrainableStages(), nn.Sequential(*layers))


def flat(lists):
    """The items of several lists in one list."""
    return [value for values in lists for value in values]


def settings_of(loss="cross_entropy", n_classes=CLASSES, **changed):
    """The classifier's default settings for one label per picture, some of them changed."""
    given = as_loss(loss)
    usual = training_settings(
        PretrainedImageClassifier(),
        Labels(np.arange(n_classes), np.zeros(0, dtype=np.int64)),
        np.ones(0),
        device="cpu",
        precision="float32",
        seed=0,
    )
    return replace(usual, **{"loss": given, "task": given.task(multilabel=False), **changed})


def row_loss(loss="cross_entropy", *, multilabel=False, **options):
    """The loss of each row, by the name of a loss and the classifier's other defaults."""
    given = as_loss(loss)
    taught = {"distill_weight": 0.5, "distill_temperature": 2.0}
    return RowLoss(given, given.task(multilabel=multilabel), **{**taught, **options})


def criterion(loss="cross_entropy", task=None):
    """Options of a net for a loss."""
    return {"criterion__loss": as_loss(loss), "criterion__task": task or OneLabel()}


def trained(module, rows, **options):
    """A net that was trained on rows."""
    usual = {"lr": 0.1, "max_epochs": 2, **criterion()}
    return TransferNet(module, verbose=0, **{**usual, **options}).trained_on(rows)

"""Pictures, labels and weights become what training works on: stored activations and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sktransfer.activations.augmented import Augmented
from sktransfer.activations.results import Known
from sktransfer.activations.streaming import FrozenPass
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.estimators.checked_input import CheckedInput
from sktransfer.estimators.fitted import Architecture, FittedModel
from sktransfer.estimators.fitted_backbone import FittedBackbone
from sktransfer.estimators.teacher import softened_probabilities
from sktransfer.images.augmentation import Transform
from sktransfer.training.batches import Rows
from sktransfer.training.data import TrainingData


@dataclass(frozen=True)
class ViewSettings:
    """Which views of the pictures are trained on.

    Parameters
    ----------
    augment : str, callable or None
    n_views : int or None
        None for a new view in each epoch.
    keep : bool
        Whether views are kept in the cache: their seed will be met again.
    """

    augment: str | Transform | None
    n_views: int | None
    keep: bool


def split_network(
    architecture: Architecture, backbone: FittedBackbone
) -> tuple[FrozenNetwork, TrainableStages]:
    """The stages that stay frozen, and those that train.

    Raises
    ------
    BackboneError
        If the backbone has fewer stages than are to be unfrozen, or can't take pictures of this
        size: before any picture is read.
    """
    network = backbone.reference.get()
    # Raises if the network can't take pictures of this size. It computes shapes only.
    network.width(pooling=architecture.pooling, image_size=backbone.preprocessing.crop_size)
    return network.split(
        *(architecture.unfreeze_depth, architecture.pooling),
        fixed_statistics={"fixed": True, "train": False}.get(architecture.batch_norm),
    )


def training_data(
    given: CheckedInput,
    one_pass: FrozenPass,
    stages: TrainableStages,
    views: ViewSettings,
    *,
    known: Known | None = None,
    teacher: Any = None,
    earlier: FittedModel | None = None,
) -> TrainingData:
    """Run pictures through the frozen stages once, and join the result with their labels.

    Parameters
    ----------
    given : CheckedInput
    one_pass : FrozenPass
    stages : TrainableStages
        The stages after those of the pass, which train.
    views : ViewSettings
    known : Known, optional
        Activations that the same pass has computed already.
    teacher : fitted classifier, optional
    earlier : FittedModel, optional
        The fit that this one continues.
    """
    shares = None
    if teacher is not None:
        settings, shape = given.settings, (len(given.images), len(given.labels.classes))
        shares = softened_probabilities(
            teacher, given.X, shape, settings.task, settings.distill_temperature
        )
    rows, validation = _rows(given, one_pass, views, known, shares)
    if given.validation is not None:
        images, labels = given.validation
        activations = FixedViews([one_pass.collect(images)[0]])
        # validation_data come without weights: all its pictures count alike.
        validation = Rows.of(activations, labels.y, np.ones(len(images)))
    head = None if earlier is None else earlier.head_to_continue(stages)
    return TrainingData(stages, rows, validation, head)


def _rows(
    given: CheckedInput,
    one_pass: FrozenPass,
    views: ViewSettings,
    known: Known | None,
    teacher: np.ndarray | None,
) -> tuple[Rows, Rows | None]:
    """Rows to train on, and those that were held out, which are never augmented."""
    images, y, weights = given.images, given.labels.y, given.weights
    train, held_out = given.split
    if views.augment is None:
        # One pass for both: network and store see each picture once.
        activations = FixedViews([one_pass.collect(images, known=known)[0]])
        rows = Rows.of(activations, y, weights, teacher, train)
        if held_out is None:
            return rows, None
        return rows, Rows.of(activations, y, weights, which=held_out)
    augmented = Augmented.of(images, one_pass, views.augment, given.seeds.views, keep=views.keep)
    validation = None
    if held_out is not None:
        as_they_are = FixedViews([augmented.activations(None, held_out)])
        validation = Rows.of(as_they_are, y[held_out], weights[held_out])
    # The teacher saw the pictures as they are, and its probabilities serve all views of them.
    taught = None if teacher is None else teacher[train]
    activations_of_views = augmented.views(views.n_views, train)
    return Rows.of(activations_of_views, y[train], weights[train], taught), validation

"""The arguments of `fit` and `partial_fit`, checked as far as no backbone is needed.

Errors come before weights are downloaded, and before an hour of reading pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.estimators.conflicts import (
    check_against_labels,
    check_conflicts,
    check_partial_fit,
    check_user_callbacks,
)
from sktransfer.estimators.fitted import Architecture, FittedModel
from sktransfer.estimators.labels import Labels, encoded
from sktransfer.estimators.row_weights import weights_of_rows
from sktransfer.estimators.seeds import Seeds, draw_seeds
from sktransfer.estimators.settings import hidden_layer_sizes, training_settings
from sktransfer.estimators.teacher import check_teacher
from sktransfer.estimators.validation import Split, split_rows
from sktransfer.exceptions import ImageError
from sktransfer.images.augmentation import check_augment
from sktransfer.images.sources import ImageSource
from sktransfer.training.dry_run import dry_run
from sktransfer.training.pace import decay, learning_rate
from sktransfer.training.settings import TrainingSettings


class FitArguments(NamedTuple):
    """The arguments of `fit` or `partial_fit`, as the user gave them.

    Parameters
    ----------
    X, y, sample_weight, validation_data, groups, classes
        See `PretrainedImageClassifier`.
    in_pieces : bool
        Whether they are those of `partial_fit`.
    """

    X: Any
    y: Any
    sample_weight: Any
    validation_data: Any = None
    groups: Any = None
    classes: Any = None
    in_pieces: bool = False


@dataclass(frozen=True)
class CheckedInput:
    """Everything that a fit works on, but for the backbone.

    Parameters
    ----------
    X : as the user gave it
        For a teacher, which may prepare pictures in another way.
    images : ImageSource
    columns : dict
        Attributes that the fitted estimator has for the columns of X.
    labels : Labels
    weights : ndarray of shape (n,)
    split : Split
    groups : ndarray of shape (n,) or None
    validation : (ImageSource, Labels) or None
        Of `validation_data`.
    seeds : Seeds
    architecture : Architecture
    choice : EngineChoice
        A settled one.
    settings : TrainingSettings
    """

    X: Any
    images: ImageSource
    columns: dict[str, Any]
    labels: Labels
    weights: np.ndarray
    split: Split
    groups: np.ndarray | None
    validation: tuple[ImageSource, Labels] | None
    seeds: Seeds
    architecture: Architecture
    choice: EngineChoice
    settings: TrainingSettings


def checked_input(
    classifier: Any, given: FitArguments, earlier: FittedModel | None
) -> CheckedInput:
    """Check parameters and arguments, alone and against each other, from cheap to dear.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
    given : FitArguments
    earlier : FittedModel or None
        The fit that this one continues.

    Raises
    ------
    ValueError
        If a parameter or an argument is invalid, or two contradict each other.
    """
    it = classifier
    # Cheap checks first: a wrong parameter is told before thousands of files are looked for.
    it._check_parameters()
    _check_parameters_together(it, given)
    architecture = _architecture(it, earlier)
    if earlier is not None:
        architecture.check_continues(earlier.architecture)
        earlier.check_resize(it.resize)
        earlier.backbone.reference.check_continues()
    choice = it._settled_choice()
    # A later piece must have the columns of the first one; any other fit may have its own.
    continues = earlier is not None and given.in_pieces
    reader = it._reader(keep_columns=continues)
    images = reader._images(given.X, it._shape(), it.in_channels, reset=not continues)
    known = None if earlier is None else (earlier.classes, earlier.task.multilabel)
    labels = encoded(given.y, len(images), type(it).__name__, known=known, classes=given.classes)
    check_against_labels(it, labels)
    weights = weights_of_rows(
        labels, given.sample_weight, it.class_weight, all_classes=not given.in_pieces
    )
    seeds = draw_seeds(it.random_state)
    if earlier is not None:
        seeds = seeds.after(earlier.seeds, n_epochs=len(earlier.history))
    split = split_rows(it.validation_fraction, labels, weights, given.groups, seeds.split)
    # Only now, for a loss or schedule can be tried once the number of classes is known.
    _try_out(it, labels)
    if it.distill_from is not None:
        check_teacher(it.distill_from, labels.classes)
    settings = training_settings(
        *(it, labels.taken(split.train), weights[split.train]),
        device=choice.device,
        precision=choice.precision,
        seed=seeds.training,
    )
    if given.in_pieces:
        state = None
        if earlier is not None:
            state = earlier.optimizer_state.known_to(it.optimizer, architecture.unfreeze_depth)
        settings = settings.for_a_piece(state, weight=float(weights[split.train].mean()))
    return CheckedInput(
        X=given.X,
        images=images,
        columns=reader._columns(),
        labels=labels,
        weights=weights,
        split=split,
        groups=None if given.groups is None else np.asarray(given.groups),
        validation=_validation(reader, given.validation_data, labels),
        seeds=seeds,
        architecture=architecture,
        choice=choice,
        settings=settings,
    )


def _check_parameters_together(classifier: Any, given: FitArguments) -> None:
    validates = classifier.validation_fraction is not None or given.validation_data is not None
    if given.in_pieces:
        check_partial_fit(classifier)
    check_conflicts(
        classifier,
        held_out=validates,
        groups=given.groups is not None,
        validation=given.validation_data is not None,
    )
    check_augment(classifier.augment, classifier.in_channels)
    check_user_callbacks(classifier, held_out=validates, in_pieces=given.in_pieces)


def _architecture(classifier: Any, earlier: FittedModel | None) -> Architecture:
    depth = classifier.unfreeze_depth
    if depth == "auto" and earlier is not None:
        depth = earlier.architecture.unfreeze_depth
    return Architecture(
        backbone=classifier.backbone,
        weights=classifier.weights,
        unfreeze_depth=depth,
        batch_norm=classifier.batch_norm,
        image_size=classifier.image_size,
        pooling=classifier.pooling,
        dropout=classifier.dropout,
        hidden_layer_sizes=hidden_layer_sizes(classifier.hidden_layer_sizes),
        in_channels=classifier.in_channels,
    )


def _try_out(classifier: Any, labels: Labels) -> None:
    """Fail before any picture is read if a class of torch's that the user gave can't work."""
    dry_run(
        loss=classifier.loss,
        optimizer=classifier.optimizer,
        schedule=classifier.schedule,
        checkpoint_dir=classifier.checkpoint_dir,
        lr=learning_rate(classifier.lr, at_random=True),
        weight_decay=decay(classifier.weight_decay),
        n_classes=len(labels.classes),
        multilabel=labels.multilabel,
    )


def _validation(reader: Any, data: Any, labels: Labels) -> tuple[ImageSource, Labels] | None:
    """Pictures and labels of `validation_data`."""
    if data is None:
        return None
    try:
        X, y = data
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"validation_data must be a pair (X, y) of pictures and labels; got {data!r:.80}."
        ) from error
    try:
        images = reader._images(X, reader._shape(), reader.in_channels)
    except ImageError as error:  # which speaks of X
        raise type(error)(f"validation_data can't be used: {error}") from error
    try:
        known = Labels.known(y, len(images), labels.classes, multilabel=labels.multilabel)
    except ValueError as error:
        raise ValueError(f"validation_data can't be used: {error}") from error
    return images, known

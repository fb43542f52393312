"""The classifier's parameters as the settings of a training."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from sktransfer.training.batches import Rows
from sktransfer.training.losses import as_loss
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.task import Task
from sktransfer.training.weighting import positive_weights


def training_settings(
    classifier: Any,
    rows: Rows,
    *,
    task: Task,
    n_classes: int,
    device: str,
    precision: str,
    seed: int,
) -> TrainingSettings:
    """How a classifier asks to be trained.

    Every field is named, so that a parameter that is renamed or forgotten fails here.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
        With valid parameters.
    rows : Rows
        The rows to train on, whose labels say how often each class is present.
    task : Task
    n_classes : int
    device, precision : str
        Those in use, where the parameters may say "auto".
    seed : int
        Of this fit.
    """
    positive_weight = None
    if task.multilabel:
        positive_weight = positive_weights(rows.targets, classifier.class_weight)
    folder = classifier.checkpoint_dir
    return TrainingSettings(
        task=task,
        n_classes=n_classes,
        loss=as_loss(classifier.loss),
        label_smoothing=classifier.label_smoothing,
        positive_weight=positive_weight,
        distill_weight=classifier.distill_weight,
        distill_temperature=classifier.distill_temperature,
        hidden_layer_sizes=hidden_layer_sizes(classifier),
        dropout=classifier.dropout,
        sampling=classifier.sampling,
        mixup=classifier.mixup,
        cutmix=classifier.cutmix,
        optimizer=classifier.optimizer,
        lr=classifier.lr,
        lr_decay=classifier.lr_decay,
        weight_decay=classifier.weight_decay,
        schedule=classifier.schedule,
        gradient_clipping=classifier.gradient_clipping,
        ema_decay=classifier.ema_decay,
        max_epochs=classifier.max_epochs,
        batch_size=classifier.batch_size,
        head_init=classifier.head_init,
        fine_tune=classifier.fine_tune,
        gradual_unfreezing=gradual_unfreezing(classifier),
        early_stopping=classifier.early_stopping,
        n_iter_no_change=classifier.n_iter_no_change,
        callbacks=classifier.callbacks or (),
        precision=precision,
        checkpoint_dir=None if folder is None else Path(folder),
        device=device,
        seed=seed,
        verbose=classifier.verbose,
        piece=None,
    )


def hidden_layer_sizes(classifier: Any) -> tuple[int, ...]:
    """Sizes of the hidden layers; a tuple, for a list of the user's may change after the fit.

    Raises
    ------
    ValueError
        If one of them is not a positive integer.
    """
    given = classifier.hidden_layer_sizes
    sizes = (given,) if isinstance(given, Integral) else tuple(given)
    if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold positive integers; got {given!r}.")
    return tuple(int(size) for size in sizes)


def gradual_unfreezing(classifier: Any) -> bool | Sequence[int]:
    """The epochs in which stages begin to train, or a bool of Python: it may be numpy's."""
    asked = classifier.gradual_unfreezing
    return asked if isinstance(asked, list | tuple) else bool(asked)

"""The classifier's parameters as the settings of a training."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer.estimators.labels import Labels
from sktransfer.training.losses import as_loss
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.weighting import positive_weights


def training_settings(
    classifier: Any, labels: Labels, weights: np.ndarray, *, device: str, precision: str, seed: int
) -> TrainingSettings:
    """Settings by which a classifier is trained.

    Every field is named, so that a parameter that is renamed or forgotten fails here.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
        With valid parameters.
    labels : Labels
        Labels of the rows to train on.
    weights : ndarray of shape (n,)
        Weights of these rows.
    device, precision : str
        Those in use: the parameters may say "auto", or what the processor does not have.
    seed : int
        Seed of this fit.
    """
    loss = as_loss(classifier.loss)
    # With one label per picture, class weights are in the weights of rows; a row with several
    # labels can't have the weight of each of them.
    positive_weight = None
    if labels.multilabel:
        positive_weight = positive_weights(labels.y, weights, classifier.class_weight)
    folder = classifier.checkpoint_dir
    return TrainingSettings(
        task=loss.task(multilabel=labels.multilabel),
        n_classes=len(labels.classes),
        loss=loss,
        label_smoothing=classifier.label_smoothing,
        positive_weight=positive_weight,
        distill_weight=classifier.distill_weight,
        distill_temperature=classifier.distill_temperature,
        hidden_layer_sizes=hidden_layer_sizes(classifier.hidden_layer_sizes),
        dropout=classifier.dropout,
        sampling=classifier.sampling,
        mixup=classifier.mixup,
        cutmix=classifier.cutmix,
        optimizer=classifier.optimizer,
        lr=classifier.lr,
        lr_decay=classifier.lr_decay,
        weight_decay=classifier.weight_decay,
        feature_penalty=classifier.feature_penalty,
        schedule=classifier.schedule,
        gradient_clipping=classifier.gradient_clipping,
        ema_decay=classifier.ema_decay,
        max_epochs=classifier.max_epochs,
        batch_size=classifier.batch_size,
        head_init=classifier.head_init,
        gradual_unfreezing=_bool_or_epochs(classifier.gradual_unfreezing),
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


def hidden_layer_sizes(given: Any) -> tuple[int, ...]:
    """The parameter as a tuple, since the user may change a list after the fit.

    Raises
    ------
    ValueError
        If one of the sizes is not a positive integer.
    """
    sizes = (given,) if isinstance(given, Integral) else tuple(given)
    if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold positive integers; got {given!r}.")
    return tuple(int(size) for size in sizes)


def _bool_or_epochs(given: Any) -> bool | Sequence[int]:
    """The epochs in which stages begin to train, or one of Python's bools for NumPy's."""
    return given if isinstance(given, list | tuple) else bool(given)

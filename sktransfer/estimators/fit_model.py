"""The steps of a fit that need the backbone: load it, run it, train, calibrate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sktransfer.estimators.checked_input import CheckedInput
from sktransfer.estimators.choices import decided
from sktransfer.estimators.fitted import FittedModel, OptimizerState
from sktransfer.estimators.training_data import ViewSettings, split_network, training_data
from sktransfer.training.calibration import fitted_temperature
from sktransfer.training.train import train


def fit_model(classifier: Any, given: CheckedInput, earlier: FittedModel | None) -> FittedModel:
    """Fit a classifier, whose parameters and arguments were checked.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
        Left as it is.
    given : CheckedInput
    earlier : FittedModel or None
        The fit that this one continues.
    """
    settings, seeds = given.settings, given.seeds
    # Pretrained weights are not drawn: one backbone serves all seeds.
    drawn_from = seeds.weights if classifier.weights is None else 0
    before = None if earlier is None else earlier.backbone.reference
    backbone = classifier._fitted_backbone(given.choice, "crop", drawn_from, before)
    if before is not None:
        backbone.reference.check_same(before)
    choices = decided(classifier, given, earlier, backbone)
    backbone = backbone.resized(choices.resize)
    architecture = replace(given.architecture, unfreeze_depth=choices.unfreeze_depth)
    frozen, stages = split_network(architecture, backbone)
    # Training needs all activations at once, so they may go to a temporary file.
    one_pass = backbone.frozen_pass(
        frozen, classifier._run_options(), "Running frozen stages", may_map=1
    )
    data = training_data(
        given,
        one_pass,
        stages,
        ViewSettings(classifier.augment, classifier.n_views, classifier._keeps_views()),
        known=choices.known,
        teacher=classifier.distill_from,
        earlier=earlier,
    )
    trained = train(settings, data)
    # After training, since it divides the scores of the net that will predict.
    temperature = 1.0
    if classifier.calibrate is not None and data.validation is not None:
        temperature = fitted_temperature(settings.task, trained.net, data.validation)
    return FittedModel(
        backbone=backbone,
        architecture=architecture,
        net=trained.net,
        task=settings.task,
        classes=given.labels.classes,
        temperature=temperature,
        resize_scores=choices.resize_scores,
        depth_scores=choices.depth_scores,
        seeds=seeds,
        history=([] if earlier is None else earlier.history) + trained.history,
        optimizer_state=OptimizerState(
            optimizer=classifier.optimizer,
            unfreeze_depth=architecture.unfreeze_depth,
            # `fit` ends its schedule; only pieces continue with the optimizer as it was.
            state=None if settings.piece is None else trained.optimizer_state,
        ),
        rows_of_classes=_rows_of_classes(given, earlier if settings.piece else None),
    )


def _rows_of_classes(given: CheckedInput, before: FittedModel | None) -> tuple[int, ...]:
    """Number of rows of each class, with those of the pieces before.

    Parameters
    ----------
    given : CheckedInput
    before : FittedModel or None
        After the piece before.
    """
    labels, counted = given.labels, given.weights > 0
    y = labels.y[counted]
    now = (
        (y > 0).sum(axis=0) if labels.multilabel else np.bincount(y, minlength=len(labels.classes))
    )
    if before is not None and before.rows_of_classes is not None:
        now = now + before.rows_of_classes
    return tuple(now.tolist())

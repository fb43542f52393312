"""Pictures and labels as the user gave them -> rows to train on, and rows to validate on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length

from sktransfer._common.sklearn_private import check_sample_weight
from sktransfer.activations.augmented import Augmented, decode
from sktransfer.activations.streaming import FrozenPass
from sktransfer.activations.views import FixedViews, Views
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.estimators.base import BackboneEstimator
from sktransfer.estimators.conflicts import check_against_labels
from sktransfer.estimators.labels import Labels, check_columns, is_indicator
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import Transform
from sktransfer.images.sources import ImageSource
from sktransfer.training.batches import Rows
from sktransfer.training.data import Trained
from sktransfer.training.losses import as_loss
from sktransfer.training.task import OneLabel, SeveralLabels, Task
from sktransfer.training.weighting import LARGEST_WEIGHT, check_class_weight, row_weights


class Seeds(NamedTuple):
    """What is drawn in a fit, each from a seed of its own."""

    weights: int
    split: int
    training: int
    views: int


class RowsOfPictures(BackboneEstimator):
    """The first steps of `PretrainedImageClassifier.fit`, up to what training works on.

    What they found stays until the next fit: ``classes_``, ``_seeds`` and ``_task``.
    """

    # Declared for readers and type checkers; assigned by the subclass's __init__ and by fit.
    unfreeze_depth: int | str
    augment: str | Transform | None
    n_views: int | None
    loss: str | Callable[..., Any]
    class_weight: Mapping[Any, float] | str | None
    distill_from: Any
    distill_temperature: float
    batch_norm: str
    validation_fraction: Any
    random_state: int | np.random.RandomState | None
    classes_: np.ndarray
    _seeds: Seeds
    _task: Task

    def _learned_labels(
        self, y: Any, n_rows: int, earlier: Trained | None, classes: Any = None
    ) -> Labels:
        """Y in numbers; what classes there are, an earlier fit or the caller may know."""
        if earlier is not None:
            multilabel = self._task.multilabel
            labels = Labels.known(y, n_rows, self.classes_, multilabel=multilabel)
        elif classes is None or is_indicator(y):
            labels = Labels.learned(y, n_rows, type(self).__name__)
        else:
            labels = Labels.known(y, n_rows, np.unique(classes), multilabel=False)
        if classes is not None and not np.array_equal(np.unique(classes), labels.classes):
            raise ValueError(
                f"classes={np.unique(classes).tolist()} contradict those of the first call, or "
                f"the columns of y: {labels.classes.tolist()}."
            )
        check_against_labels(self, labels)
        self.classes_ = labels.classes
        self._task = as_loss(self.loss).task(multilabel=labels.multilabel)
        return labels

    def _row_weights(
        self, labels: Labels, sample_weight: Any, *, all_classes: bool = True
    ) -> np.ndarray:
        check_class_weight(self.class_weight, len(labels.classes) if labels.multilabel else None)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, labels.y, dtype=np.float64, ensure_non_negative=True
            )
            if sample_weight.max() > LARGEST_WEIGHT:
                raise ParameterError(
                    f"sample_weight must be at most {LARGEST_WEIGHT:.3g}; got "
                    f"{sample_weight.max():.3g}. Divide all weights by the largest."
                )
        if labels.multilabel:
            weights = np.ones(len(labels.y)) if sample_weight is None else sample_weight
            if all_classes:
                check_columns(labels, weights)
            return weights
        return row_weights(
            *(labels.y, labels.classes, self.class_weight, sample_weight),
            all_classes=all_classes,
        )

    def _split(
        self, labels: Labels, weights: np.ndarray, groups: Any
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows to train on, and rows held out for validation."""
        rows, present = np.arange(len(labels.y)), np.flatnonzero(weights)
        if self.validation_fraction is None:
            return present, None
        if hasattr(self.validation_fraction, "split"):
            if groups is not None:
                check_consistent_length(labels.y, groups)
            train, held_out = next(self.validation_fraction.split(rows, labels.y, groups))
        else:
            train, held_out = self._drawn_split(labels, present)
        # In order, and without rows of weight 0, which are as good as absent.
        train, held_out = (np.intersect1d(part, present) for part in (train, held_out))
        check_split(self.validation_fraction, labels, present, train, held_out)
        return train, held_out

    def _drawn_split(self, labels: Labels, rows: np.ndarray) -> Any:
        try:
            return train_test_split(
                rows,
                test_size=float(self.validation_fraction),  # scikit-learn knows no float32
                stratify=None if labels.multilabel else labels.classes[labels.y[rows]],
                random_state=self._seeds.split,
            )
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} can't hold out rows of every "
                f"class: {str(error).rstrip('.')}. Change the fraction, or use None."
            ) from error

    def _training_rows(
        self,
        X: Any,
        images: ImageSource,
        labels: Labels,
        weights: np.ndarray,
        train: np.ndarray,
        held_out: np.ndarray | None = None,
        validation_data: tuple[Any, Any] | None = None,
    ) -> tuple[Rows, Rows | None, TrainableStages]:
        """What the frozen stages make of the pictures, with their labels; and the other stages."""
        backbone = self._loaded_backbone()
        frozen, stages = backbone.split(
            *(self.unfreeze_depth, self.pooling),
            fixed_statistics={"fixed": True, "train": False}.get(self.batch_norm),
        )
        # A size that the backbone can't take fails here, before any picture is read.
        backbone.width(pooling=self.pooling, image_size=self._preprocessing.crop_size)
        one_pass = self._pass(frozen, "Running frozen stages", may_map=1)
        validation = None
        if validation_data is not None:
            validation = self._given_validation(validation_data, one_pass)
        teacher = self._teacher_shares(X, len(images))
        if self.augment is None:
            views: Views = FixedViews([one_pass.collect(images)[0]])
            if held_out is not None:
                validation = Rows.of(views, labels.y, weights, which=held_out)
            return Rows.of(views, labels.y, weights, teacher, train), validation, stages
        augmented = self._augmented(images, one_pass)
        if held_out is not None:
            as_they_are = FixedViews([augmented.activations(None, held_out)])
            validation = Rows.of(as_they_are, labels.y[held_out], weights[held_out])
        views = augmented.views(self.n_views, train)
        taught = None if teacher is None else teacher[train]
        return Rows.of(views, labels.y[train], weights[train], taught), validation, stages

    def _given_validation(self, data: tuple[Any, Any], one_pass: FrozenPass) -> Rows:
        try:
            X, y = data
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"validation_data must be a pair (X, y) of pictures and labels; got {data!r:.80}."
            ) from error
        images = self._images(X, reset=False)
        images.check()
        try:
            labels = Labels.known(y, len(images), self.classes_, multilabel=self._task.multilabel)
        except ValueError as error:
            raise ValueError(f"validation_data can't be used: {error}") from error
        views = FixedViews([one_pass.collect(images)[0]])
        return Rows.of(views, labels.y, np.ones(len(images)))

    def _augmented(self, images: ImageSource, one_pass: FrozenPass) -> Augmented:
        return Augmented(
            pixels=decode(images, one_pass),
            one_pass=one_pass,
            augment="light" if self.augment is None else self.augment,
            seed=self._seeds.views,
            keep=isinstance(self.random_state, Integral),
        )

    def _teacher_shares(self, X: Any, n_rows: int) -> np.ndarray | None:
        """What the teacher gives each class, softened by the temperature."""
        if self.distill_from is None:
            return None
        check_teacher(self.distill_from, self.classes_)
        shares = np.asarray(self.distill_from.predict_proba(X), np.float64)
        if shares.shape != (n_rows, len(self.classes_)) or not np.isfinite(shares).all():
            raise ParameterError(
                f"distill_from={type(self.distill_from).__name__} must give finite probabilities "
                f"of shape {(n_rows, len(self.classes_))}; got shape {shares.shape}."
            )
        task = SeveralLabels() if self._task.multilabel else OneLabel()
        return task.probabilities(task.scores(shares) / self.distill_temperature)


def check_split(
    splitter: Any, labels: Labels, present: np.ndarray, train: np.ndarray, held_out: np.ndarray
) -> None:
    """Raise if a split leaves a class no rows to train on, or nothing to validate with.

    Parameters
    ----------
    splitter : float or splitter
    labels : Labels
    present, train, held_out : ndarray of int
        Rows that have some weight, and their parts.

    Raises
    ------
    ParameterError
    """
    # Of classes that nobody teaches, the split is not to blame.
    lost = np.setdiff1d(labels.not_taught_by(train), labels.not_taught_by(present))
    if len(lost):
        what = (
            "rows with, or all without, the labels" if labels.multilabel else "rows of the classes"
        )
        raise ParameterError(
            f"validation_fraction={splitter} holds out all {what} {labels.classes[lost].tolist()}, "
            "and leaves none to train on. Hold out less, or split by class, as "
            "StratifiedGroupKFold does."
        )
    if not len(held_out):
        raise ParameterError(
            f"validation_fraction={splitter} holds out only rows of weight 0, which can't tell how "
            "good the training is. Leave such rows out of X."
        )


def check_teacher(teacher: Any, classes: np.ndarray) -> None:
    """Raise unless a teacher is fitted and knows the same classes.

    Raises
    ------
    ParameterError
    """
    known = getattr(teacher, "classes_", None)
    if known is None:
        raise ParameterError(
            f"distill_from={type(teacher).__name__} is not fitted. Fit it first; in a search or a "
            "cross-validation, which clone it, give sklearn.frozen.FrozenEstimator(teacher)."
        )
    if not np.array_equal(known, classes):
        raise ParameterError(
            f"distill_from knows the classes {np.asarray(known).tolist()}, but y has "
            f"{classes.tolist()}. Fit the teacher on the same labels."
        )

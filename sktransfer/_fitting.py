"""The steps of the classifier's fit: labels, weights, splits, rows, training, calibration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial, wraps
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state

from sktransfer._base import BackboneEstimator
from sktransfer._conflicts import check_against_targets
from sktransfer._devices import derived_seed
from sktransfer._probabilities import Link, best_temperature
from sktransfer._sklearn import check_sample_weight
from sktransfer._targets import Targets, check_columns, is_indicator
from sktransfer.activations.augmented import Augmented, decode
from sktransfer.activations.streaming import Pass
from sktransfer.activations.views import FixedViews, Views
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import Transform
from sktransfer.images.sources import ImageSource
from sktransfer.training.batches import Rows
from sktransfer.training.net import TransferNet
from sktransfer.training.recipe import Recipe, Trained
from sktransfer.training.weighting import positive_weights, row_weights


class Seeds(NamedTuple):
    """What is drawn in a fit, each from a seed of its own."""

    weights: int
    split: int
    training: int
    views: int


class Fitting(BackboneEstimator):
    """What `PretrainedImageClassifier.fit` is made of, in the order of its steps.

    What a fit found stays until the next one: ``_seeds``, ``_structure`` (the parameters
    that the shape of the network depends on), ``_link`` and ``_optimizer_state``.
    """

    # Declared for readers and type checkers; assigned by the subclass's __init__ and by fit.
    unfreeze_depth: int | str
    hidden_layer_sizes: int | Sequence[int]
    augment: str | Transform | None
    n_views: int | None
    loss: str | Callable[..., Any]
    label_smoothing: float
    class_weight: Mapping[Any, float] | str | None
    distill_from: Any
    distill_weight: float
    distill_temperature: float
    batch_norm: str
    dropout: float
    gradual_unfreezing: bool | Sequence[int]
    validation_fraction: Any
    calibrate: str | None
    callbacks: Sequence[Any] | None
    checkpoint_dir: str | Path | None
    tta: int | None
    mc_dropout: int | None
    random_state: int | np.random.RandomState | None
    classes_: np.ndarray
    history_: list[dict[str, Any]]
    net_: TransferNet
    _seeds: Seeds
    _link: Link
    _structure: dict[str, Any]
    _split_key: tuple[int | str, str]
    _optimizer_state: Mapping[int, Any] | None

    def _earlier(self) -> Trained | None:
        """What an earlier fit gave, if it can be gone on with."""
        if not hasattr(self, "net_"):
            return None
        structure = self._shape_of_network()
        for name, value in structure.items():
            if value != self._structure[name]:
                raise ParameterError(
                    f"An earlier fit is to go on, but {name} was {self._structure[name]!r} in it "
                    f"and is {value!r} now. Set it back, or begin anew: fit with warm_start=False."
                )
        return Trained(self.net_, self.history_, self._optimizer_state)

    def _shape_of_network(self) -> dict[str, Any]:
        backbone = ("backbone", "weights", "unfreeze_depth", "batch_norm", "image_size")
        head = ("pooling", "hidden_layer_sizes", "dropout")
        return {name: getattr(self, name) for name in (*backbone, *head)}

    def _draw_seeds(self, earlier: Trained | None) -> int:
        """Seeds of this fit; returns that of the weights, for those that begin at random."""
        drawn = check_random_state(self.random_state).randint(2**31 - 1, size=4).tolist()
        if earlier is not None:
            epochs = len(earlier.history)
            drawn = [self._seeds.weights, *(derived_seed(seed, epochs) for seed in drawn[1:])]
        self._seeds = Seeds(*drawn)
        return self._seeds.weights if self.weights is None else 0

    def _learned_targets(
        self, y: Any, n_rows: int, earlier: Trained | None, classes: Any = None
    ) -> Targets:
        """Y in numbers; what classes there are, an earlier fit or the caller may know."""
        if earlier is not None:
            multilabel = self._link.multilabel
            targets = Targets.known(y, n_rows, self.classes_, multilabel=multilabel)
        elif classes is None or is_indicator(y):
            targets = Targets.learned(y, n_rows, type(self).__name__)
        else:
            targets = Targets.known(y, n_rows, np.unique(classes), multilabel=False)
        if classes is not None and not np.array_equal(np.unique(classes), targets.classes):
            raise ValueError(
                f"classes={np.unique(classes).tolist()} contradict those of the first call, or "
                f"the columns of y: {targets.classes.tolist()}."
            )
        check_against_targets(self, targets)
        self.classes_ = targets.classes
        binary = targets.multilabel or self.loss == "binary_cross_entropy"
        self._link = Link(binary, targets.multilabel)
        return targets

    def _row_weights(
        self, targets: Targets, sample_weight: Any, *, all_classes: bool = True
    ) -> np.ndarray:
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, targets.y, dtype=np.float64, ensure_non_negative=True
            )
        if targets.multilabel:
            weights = np.ones(len(targets.y)) if sample_weight is None else sample_weight
            if all_classes:
                check_columns(targets, weights)
            return weights
        return row_weights(
            *(targets.y, targets.classes, self.class_weight, sample_weight),
            all_classes=all_classes,
        )

    def _split(self, targets: Targets, groups: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows to train on, and rows held out for validation."""
        rows = np.arange(len(targets.y))
        if self.validation_fraction is None:
            return rows, None
        if hasattr(self.validation_fraction, "split"):
            if groups is not None:
                check_consistent_length(targets.y, groups)
            train, held_out = next(self.validation_fraction.split(rows, targets.y, groups))
            check_split(self.validation_fraction, targets, train)
            return np.sort(train), np.sort(held_out)
        try:
            train, held_out = train_test_split(
                rows,
                test_size=self.validation_fraction,
                stratify=None if targets.multilabel else targets.y,
                random_state=self._seeds.split,
            )
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} can't hold out rows of every "
                f"class: {error} Change the fraction, or use None."
            ) from error
        return np.sort(train), np.sort(held_out)

    def _training_rows(
        self,
        X: Any,
        images: ImageSource,
        targets: Targets,
        weights: np.ndarray,
        train: np.ndarray | None = None,
        held_out: np.ndarray | None = None,
        validation_data: tuple[Any, Any] | None = None,
    ) -> tuple[Rows, Rows | None, TrainableStages]:
        """What the frozen stages make of the pictures, with their targets; and the other stages."""
        backbone = self._loaded_backbone()
        frozen, stages = backbone.split(
            *(self.unfreeze_depth, self.pooling),
            fixed_statistics={"fixed": True, "train": False}.get(self.batch_norm),
        )
        # A size that the backbone can't take fails here, before any picture is read.
        backbone.width(pooling=self.pooling, image_size=self._preprocessing.crop_size)
        one_pass = self._pass(frozen, "Running frozen stages", may_map=1)
        train = np.arange(len(targets.y)) if train is None else train
        validation = None
        if validation_data is not None:
            validation = self._given_validation(validation_data, one_pass)
        teacher = self._teacher_shares(X, len(images))
        if self.augment is None:
            views: Views = FixedViews([one_pass.collect(images)[0]])
            if held_out is not None:
                validation = Rows.of(views, targets.y, weights, which=held_out)
            return Rows.of(views, targets.y, weights, teacher, train), validation, stages
        augmented = self._augmented(images, one_pass)
        if held_out is not None:
            as_they_are = FixedViews([augmented.activations(None, held_out)])
            validation = Rows.of(as_they_are, targets.y[held_out], weights[held_out])
        views = augmented.views(self.n_views, train)
        taught = None if teacher is None else teacher[train]
        return Rows.of(views, targets.y[train], weights[train], taught), validation, stages

    def _given_validation(self, data: tuple[Any, Any], one_pass: Pass) -> Rows:
        try:
            X, y = data
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"validation_data must be a pair (X, y) of pictures and labels; got {data!r:.80}."
            ) from error
        images = self._images(X, reset=False)
        images.check()
        targets = Targets.known(y, len(images), self.classes_, multilabel=self._link.multilabel)
        views = FixedViews([one_pass.collect(images)[0]])
        return Rows.of(views, targets.y, np.ones(len(images)))

    def _augmented(self, images: ImageSource, one_pass: Pass) -> Augmented:
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
        link = Link(binary=self._link.multilabel, multilabel=self._link.multilabel)
        return link.probabilities(link.scores(shares) / self.distill_temperature)

    def _train(
        self,
        stages: TrainableStages,
        rows: Rows,
        validation: Rows | None,
        earlier: Trained | None,
        *,
        in_pieces: bool = False,
    ) -> Any:
        """Train, and keep what came of it; `in_pieces` for one epoch on some of all rows."""
        begin_with = None
        if earlier is not None:  # a copy: a training that fails leaves the earlier one as it was
            begin_with = copy.deepcopy(earlier.net.module_)
            stages = begin_with.stages
        recipe = self._recipe(rows)
        if in_pieces:
            recipe = recipe.for_a_piece(None if earlier is None else earlier.optimizer_state)
        trained = recipe.train(stages, rows, validation, begin_with)
        self.history_ = ([] if earlier is None else earlier.history) + trained.history
        self.n_iter_ = len(self.history_)
        self._optimizer_state = trained.optimizer_state if in_pieces else None
        self._structure = self._shape_of_network()
        self._split_key = (self.unfreeze_depth, self.pooling)
        self.temperature_ = 1.0
        if self.calibrate is not None and validation is not None:
            scores = trained.net.scores_of(validation).numpy()
            self.temperature_ = best_temperature(self._link, scores, validation.targets.y.numpy())
        self.net_ = trained.net
        return self

    def _recipe(self, rows: Rows) -> Recipe:
        shared = {f.name: getattr(self, f.name) for f in fields(Recipe) if hasattr(self, f.name)}
        loss: dict[str, Any] = {
            "loss": self.loss,
            "multilabel": self._link.multilabel,
            "label_smoothing": self.label_smoothing,
            "positive_weight": None,
            "distill_weight": self.distill_weight,
            "distill_temperature": self.distill_temperature,
        }
        if self._link.multilabel:
            loss["positive_weight"] = positive_weights(rows.targets, self.class_weight)
        return Recipe(
            **{
                **shared,
                "loss": loss,
                "n_classes": len(self.classes_),
                "hidden_layer_sizes": self._hidden_layer_sizes(),
                "callbacks": self.callbacks or (),
                "gradual_unfreezing": self._unfreezing(),
                "checkpoint_dir": None
                if self.checkpoint_dir is None
                else Path(self.checkpoint_dir),
                "device": self.device_,
                "precision": self._precision,
                "seed": self._seeds.training,
            }
        )

    def _unfreezing(self) -> bool | Sequence[int]:
        asked = self.gradual_unfreezing
        return asked if isinstance(asked, list | tuple) else bool(asked)

    def _hidden_layer_sizes(self) -> tuple[int, ...]:
        given: Any = self.hidden_layer_sizes
        sizes = (given,) if isinstance(given, Integral) else tuple(given)
        if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes must hold positive integers; got {self.hidden_layer_sizes!r}."
            )
        return tuple(int(size) for size in sizes)

    def _predicting(self, images: ImageSource) -> np.ndarray:
        """Scores (n, draws, n_classes) of pictures."""
        then = self.net_.scores
        if self.mc_dropout is not None:
            if not self._structure["dropout"]:  # set after a fit, which would have told
                raise ParameterError(
                    f"mc_dropout={self.mc_dropout} draws from dropout, but the fitted head has "
                    "dropout=0. Fit again with dropout=0.5."
                )
            then = partial(self.net_.drawn_scores, n=self.mc_dropout, seed=self._seeds.training)
        one_pass = self._pass(
            self._loaded_backbone().frozen_network(*self._split_key), "Predicting"
        )
        if self.tta is None:
            passes = [one_pass.collect(images, then)[0]]
        else:
            augmented = self._augmented(images, one_pass)
            numbers = [None, *range(self.tta - 1)]
            passes = [augmented.activations(number, then=then) for number in numbers]
        n = len(images)
        return np.concatenate(
            [scores.numpy().reshape(n, -1, len(self.classes_)) for scores in passes], axis=1
        )


def check_split(splitter: Any, targets: Targets, train: np.ndarray) -> None:
    """Raise if a splitter leaves a class, of one label a picture, no rows to train on.

    Raises
    ------
    ParameterError
    """
    if targets.multilabel:
        return
    lost = np.setdiff1d(np.arange(len(targets.classes)), targets.y[train])
    if len(lost):
        raise ParameterError(
            f"validation_fraction={splitter} holds out all rows of the classes "
            f"{targets.classes[lost].tolist()}, and leaves none to train on. Hold out less, or "
            "split by class, as StratifiedGroupKFold does."
        )


def keeps_earlier(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method that goes on with an earlier fit leave it as it was if something is wrong."""

    @wraps(fit)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            if hasattr(self, "net_"):  # else there was none, or it was to be forgotten
                vars(self).clear()
                vars(self).update(before)
            raise

    return wrapped


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

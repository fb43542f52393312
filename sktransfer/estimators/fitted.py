"""The results of a fit: all that prediction, pickling and a continued fit need.

`fit` assigns its result last, so a fit that fails leaves the earlier one as it was. The results
are frozen: `set_params` changes nothing of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer._common.plain_tensors import with_plain_tensors, with_tensors
from sktransfer.activations.augmented import Augmented
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.estimators.fitted_backbone import FittedBackbone, RunOptions
from sktransfer.estimators.seeds import Seeds
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import Transform
from sktransfer.images.sources import ImageSource
from sktransfer.selection.decision import Decision
from sktransfer.selection.scores import Score
from sktransfer.training.net import TransferNet
from sktransfer.training.task import Task


@dataclass(frozen=True)
class FittedFeatures:
    """A fitted extractor without its parameters.

    Parameters
    ----------
    backbone : FittedBackbone
    stage : str, tuple of str or None
    pooling : str
    """

    backbone: FittedBackbone
    stage: str | tuple[str, ...] | None
    pooling: str

    def features(
        self, images: ImageSource, options: RunOptions, skip_unreadable: bool
    ) -> tuple[np.ndarray, list[int]]:
        """Features (n, n_features) of pictures, and the positions of those that can't be read."""
        one_pass = self.one_pass(options, "Extracting features", skip_unreadable=skip_unreadable)
        features, unreadable = one_pass.collect(images)
        return features.numpy(), unreadable

    def network(self) -> FrozenNetwork:
        """The network from pixels to features."""
        return self.backbone.reference.get().feature_network(self.stage, self.pooling)

    def one_pass(self, options: RunOptions, title: str, **more: Any) -> FrozenPass:
        """A pass from pictures to features."""
        return self.backbone.frozen_pass(self.network(), options, title, **more)

    def n_features(self) -> int:
        """Number of features of one picture.

        Raises
        ------
        BackboneError
            If a stage is unknown, or the network can't take pictures of this size.
        """
        return self._width(self.stage)

    def width_of_each_stage(self) -> list[tuple[str | None, int]]:
        """Each stage whose activations become features, and the number of its features."""
        stages = self.stage if isinstance(self.stage, tuple) else (self.stage,)
        return [(stage, self._width(stage)) for stage in stages]

    def _width(self, stage: str | tuple[str, ...] | None) -> int:
        backbone, size = self.backbone.reference.get(), self.backbone.preprocessing.crop_size
        return backbone.width(stage, self.pooling, size)


@dataclass(frozen=True)
class Architecture:
    """The parameters that the network's layers depend on.

    A continued fit needs the same ones; only `unfreeze_depth` may grow.
    """

    backbone: str
    weights: str | Path | None
    unfreeze_depth: int | str
    batch_norm: str
    image_size: int | None
    pooling: str
    dropout: float
    hidden_layer_sizes: tuple[int, ...]
    in_channels: int = 3  # the default is for pickles of versions that did not know it

    def check_continues(self, earlier: Architecture) -> None:
        """Raise unless a fit with these parameters can continue an earlier one.

        Raises
        ------
        ParameterError
        """
        before, now = earlier.unfreeze_depth, self.unfreeze_depth
        # More stages may train than before; those that were trained can't freeze again.
        deeper = now == "all" or (before != "all" and now >= before)  # type: ignore[operator]
        for field in fields(self):
            was, value = getattr(earlier, field.name), getattr(self, field.name)
            if value != was and not (field.name == "unfreeze_depth" and deeper):
                raise ParameterError(
                    f"An earlier fit is continued, but {field.name} was {was!r} in it and is "
                    f"{value!r} now. Set it back, or begin anew: fit with warm_start=False."
                )


@dataclass(frozen=True)
class PredictionOptions:
    """Parameters of prediction, which may change after a fit.

    Parameters
    ----------
    run : RunOptions
    tta, mc_dropout : int or None
    augment : str, callable or None
    keep_views : bool
        Whether augmented views are kept in the cache: their seed will be met again.
    """

    run: RunOptions
    tta: int | None
    mc_dropout: int | None
    augment: str | Transform | None
    keep_views: bool


@dataclass(frozen=True)
class OptimizerState:
    """The optimizer's state after a call of `partial_fit`, and for whom it has a meaning.

    The state is kept by the numbers of the parameters, so it means nothing to another optimizer
    or where other stages train.
    """

    optimizer: str | Callable[..., Any]
    unfreeze_depth: int | str
    state: Mapping[int, Any] | None

    def known_to(self, optimizer: Any, unfreeze_depth: int | str) -> Mapping[int, Any] | None:
        """The state, if training goes on with the same optimizer and stages."""
        same = (self.optimizer, self.unfreeze_depth) == (optimizer, unfreeze_depth)
        return self.state if same else None

    def __getstate__(self) -> dict[str, Any]:
        return dict(with_plain_tensors(vars(self)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(with_tensors(state))


@dataclass(frozen=True)
class FittedModel:
    """A fitted classifier without its parameters.

    Parameters
    ----------
    backbone : FittedBackbone
    architecture : Architecture
    net : TransferNet
        The trained stages and head, on activations of the frozen stages.
    task : Task
    classes : ndarray of shape (n_classes,)
    temperature : float
        What scores are divided by.
    resize_scores : mapping of str to Score, or None
        The evidence by which `resize` was chosen.
    depth_scores : mapping of int to Score, or None
        The evidence by which `unfreeze_depth` was chosen.
    seeds : Seeds
    history : list of dict
        One record per epoch, over all fits that continued each other.
    optimizer_state : OptimizerState
    rows_of_classes : tuple of int, or None
        Number of rows with each class that it was fitted on, in all pieces; a row of weight 0
        is none. None in pickles of versions that did not count them.
    """

    backbone: FittedBackbone
    architecture: Architecture
    net: TransferNet
    task: Task
    classes: np.ndarray
    temperature: float
    resize_scores: Mapping[str, Score] | None
    depth_scores: Mapping[int, Score] | None
    seeds: Seeds
    history: list[dict[str, Any]]
    optimizer_state: OptimizerState
    rows_of_classes: tuple[int, ...] | None = None

    def scores(self, images: ImageSource, options: PredictionOptions) -> np.ndarray:
        """Scores of pictures, divided by the temperature.

        Parameters
        ----------
        images : ImageSource
        options : PredictionOptions

        Returns
        -------
        scores : ndarray of shape (n, n_draws, n_classes), float32
            One draw for each view and each sample of dropout.
        """
        one_pass = self.backbone.frozen_pass(self.frozen_network(), options.run, "Predicting")
        head = self._head(options.mc_dropout)
        if options.tta is None:
            # The head runs within the pass, so that all activations are never held at once.
            passes = [one_pass.collect(images, head)[0]]
        else:
            augment = "light" if options.augment is None else options.augment
            augmented = Augmented.of(
                images, one_pass, augment, self.seeds.views, keep=options.keep_views
            )
            views = [None, *range(options.tta - 1)]  # None is the picture as it is
            passes = [augmented.activations(view, then=head) for view in views]
        shape = (len(images), -1, len(self.classes))
        # A pass gives (n, classes), or with mc_dropout (n, draws, classes): both become the latter.
        scores = np.concatenate([each.numpy().reshape(shape) for each in passes], axis=1)
        return scores / np.float32(self.temperature)

    def features(self, images: ImageSource, options: RunOptions) -> np.ndarray:
        """What the last layer of the head takes of pictures, (n, n_features), float32."""
        one_pass = self.backbone.frozen_pass(self.frozen_network(), options, "Computing features")
        features: np.ndarray = one_pass.collect(images, self.net.features)[0].numpy()
        return features

    def joined(self, draws: np.ndarray) -> np.ndarray:
        """Scores (n, n_classes) of draws (n, n_draws, n_classes), by their mean probabilities."""
        if draws.shape[1] == 1:
            return np.asarray(draws[:, 0])
        return self.task.scores(self.task.probabilities(draws).mean(axis=1))

    def labels(self, scores: np.ndarray) -> np.ndarray:
        """The predicted labels (n,), or an indicator (n, n_classes), of scores."""
        # From scores, not from probabilities, which may round to the same number.
        predictions = self.task.predictions(scores)
        return predictions if self.task.multilabel else self.classes[predictions]

    def frozen_network(self) -> FrozenNetwork:
        """The network from pixels to what the net takes."""
        split = (self.architecture.unfreeze_depth, self.architecture.pooling)
        return self.backbone.reference.get().frozen_network(*split)

    def _head(self, mc_dropout: int | None) -> Callable[..., Any]:
        """The trained part, from activations to scores."""
        if mc_dropout is None:
            return self.net.scores
        if not self.architecture.dropout:  # mc_dropout was set after the fit
            raise ParameterError(
                f"mc_dropout={mc_dropout} draws from dropout, but the fitted head has "
                "dropout=0. Fit again with dropout=0.5."
            )
        return partial(self.net.drawn_scores, n=mc_dropout, seed=self.seeds.training)

    def decisions(self) -> list[Decision]:
        """The parameters that were decided by evidence."""
        decisions = [
            Decision("resize", self.backbone.preprocessing.resize, self.resize_scores),
            Decision("unfreeze_depth", self.architecture.unfreeze_depth, self.depth_scores),
        ]
        return [decision for decision in decisions if decision.scores is not None]

    def check_resize(self, resize: str) -> None:
        """Raise unless a fit that continues this one sees pictures in the same way.

        Raises
        ------
        ParameterError
        """
        before = self.backbone.preprocessing.resize
        if resize not in ("auto", before):
            raise ParameterError(
                f"An earlier fit is continued, but resize was {before!r} in it and is {resize!r} "
                f"now. Use 'auto' or {before!r}, or begin anew: fit with warm_start=False."
            )

    def head_to_continue(self, stages: TrainableStages) -> Any:
        """A copy of the trained head; `stages` get the values of the trained stages.

        A copy, for a training that fails must leave this model as it was.
        """
        module = self.net.module_
        for name, stage in module.stages.named_children():
            stages.get_submodule(name).load_state_dict(stage.state_dict())
        return copy.deepcopy(module.head)

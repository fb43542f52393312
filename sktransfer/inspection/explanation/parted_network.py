"""A network in two parts: from pictures to its last map, and from there to the scores."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.backbones.pooling import Pool
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.explanation.linear_head import linear_of_head, linear_of_steps
from sktransfer.inspection.subject import Subject

_OCCLUSION = "Use method='occlusion', which needs predictions only."


@dataclass(frozen=True, eq=False)
class PartedNetwork:
    """A network from pictures to scores, parted at a map (n, c, h, w) or tokens (n, length, c).

    Parameters
    ----------
    one_pass : FrozenPass
        From pictures to activations of frozen stages, by the engine and cache of the estimator.
    to_map : Module
        The trained stages from there to the map.
    to_features : Module
        From the map to the features.
    to_scores : Module
        From the features to one score per class.
    linear : Linear or None
        The same as `to_scores`, where that is linear.
    n_prefix : int or None
        Number of tokens before those of positions; None where only their number tells.
    shape : tuple of int
        Of the map or tokens of one picture.
    """

    one_pass: FrozenPass
    to_map: nn.Module
    to_features: nn.Module
    to_scores: nn.Module
    linear: nn.Linear | None
    n_prefix: int | None
    shape: tuple[int, ...]

    def collect(
        self,
        images: ImageSource,
        then: Callable[[Tensor], Tensor] | None = None,
        *,
        further: int = 0,
    ) -> Tensor:
        """Maps or tokens of pictures, on the CPU, or what `then` makes of each batch of them.

        `further` is the number of pictures of other calls, for the choice of the engine.
        """

        def from_activations(activations: Tensor) -> Tensor:
            at_map = self.to_map(activations)
            return at_map if then is None else then(at_map)

        return replace(self.one_pass, further=further).collect(images, from_activations)[0]

    def as_map(self, x: Tensor) -> Tensor:
        """A map (n, c, h, w) of the map or the tokens; without tokens of the whole picture."""
        if x.ndim == 4:
            return x
        length = int(x.shape[1])
        first = Pool("avg", self.n_prefix).n_before_positions(length)
        side = math.isqrt(length - first)
        return x[:, first:].transpose(1, 2).unflatten(2, (side, side))

    def scores(self, x: Tensor) -> Tensor:
        """Scores (n, k) of maps or tokens."""
        return self.to_scores(self.to_features(x).flatten(1))

    @property
    def device(self) -> torch.device:
        """Where maps are turned into scores."""
        return next(self.to_scores.parameters()).device

    @cached_property
    def features_are_means(self) -> bool:
        """True if the features are the means of the map's channels over all positions."""
        x = self._noise()
        with torch.no_grad():
            features, means = self.to_features(x), self.as_map(x).mean((2, 3))
        return features.shape == means.shape and torch.allclose(features, means, atol=1e-5)

    @cached_property
    def sees_positions(self) -> bool:
        """False if the scores depend on tokens of the whole picture only."""
        x = self._noise().requires_grad_()
        with torch.enable_grad():
            scores = self.scores(x)
            # By random weights: those of a regularised head sum to 0 over the classes.
            weights = torch.linspace(1, 2, scores.numel(), device=scores.device)
            (gradient,) = torch.autograd.grad((scores.flatten() * weights).sum(), x)
        return bool(self.as_map(gradient).abs().max() > 0)

    def _noise(self) -> Tensor:
        noise = torch.randn(2, *self.shape, generator=torch.Generator().manual_seed(0))
        return noise.to(self.device)


def parted_network(subject: Subject, images: ImageSource) -> PartedNetwork:
    """Part the network of a classifier at the last map that its scores depend on.

    Parameters
    ----------
    subject : Subject
    images : ImageSource
        The first one shows the shape of the map.

    Raises
    ------
    ParameterError
        If there is no such map, what follows it is not known as layers, or it is a linear model
        whose weights are all 0.
    """
    network = subject.network
    if network is None:
        raise ParameterError(
            f"{subject.name} has no network that can be found: maps of a network need a "
            "PretrainedImageClassifier, or a Pipeline that begins with a "
            f"PretrainedFeatureExtractor. {_OCCLUSION}"
        )
    chain = _of_classifier(network) if subject.after_network == () else _of_pipeline(subject)
    for last in range(chain.n_maps - 1, max(-1, chain.n_maps - 3), -1):
        parted = chain.parted(last, images)
        if math.prod(parted.as_map(parted._noise()).shape[2:]) == 1:
            break
        if chain.linear is not None and not chain.linear.weight.any():
            raise ParameterError(
                f"All weights of {type(subject.steps[-1]).__name__} are 0: its scores are the same "
                "for all pictures, and no part of them speaks for a class. Weaken its "
                "regularisation."
            )
        # Class tokens read the positions in the block before: the map is then its input.
        if parted.sees_positions:
            return parted
    raise ParameterError(
        f"The network {chain.backbone.name} has no map with several positions at this image size "
        f"and stage: its scores come from a vector. {_OCCLUSION}"
    )


@dataclass(frozen=True, eq=False)
class _Chain:
    """All modules from pictures to scores, one after the other.

    Parameters
    ----------
    backbone : Backbone
    frozen : FrozenNetwork
        What runs before the trained stages.
    trained : dict of str to Module
        The trained stages by name.
    modules : list of (str, Module)
        All stages from the picture to the features, trained or not.
    n_maps : int
        How many of them, the first ones, give maps or tokens.
    to_scores, linear
        See `PartedNetwork`.
    one_pass : callable
        Makes a pass through a frozen network.
    """

    backbone: Backbone
    frozen: FrozenNetwork
    trained: dict[str, nn.Module]
    modules: list[tuple[str, nn.Module]]
    n_maps: int
    to_scores: nn.Module
    linear: nn.Linear | None
    one_pass: Callable[[FrozenNetwork], FrozenPass]

    def parted(self, number: int, images: ImageSource) -> PartedNetwork:
        """The chain in two parts, of which the first one ends with a stage."""
        device = str(next(self.to_scores.parameters()).device)
        if self.modules[number][0] in self.trained:
            frozen, names = self.frozen, list(self.trained)
            names = names[: names.index(self.modules[number][0]) + 1]
            to_map = nn.Sequential(*(self.trained[name] for name in names))
        else:
            frozen, to_map = self.backbone.map_network(number + 1), nn.Sequential()
        after = [_at(module, device) for _, module in self.modules[number + 1 :]]
        one_pass = self.one_pass(frozen)
        first = one_pass.collect(images.taken([0]), to_map)[0]
        return PartedNetwork(
            one_pass=one_pass,
            to_map=to_map,
            to_features=nn.Sequential(*after),
            to_scores=self.to_scores,
            linear=self.linear,
            n_prefix=self.backbone.pieces.n_prefix,
            shape=tuple(first.shape[1:]),
        )


def _of_classifier(classifier: PretrainedImageClassifier) -> _Chain:
    model = classifier._model
    backbone, module = model.backbone.reference.get(), model.net.module_.eval()
    trained = dict(module.stages.named_children())
    stages = backbone.feature_stages(model.architecture.pooling)
    return _Chain(
        backbone=backbone,
        frozen=model.frozen_network(),
        trained=trained,
        modules=[(stage.name, trained.get(stage.name, stage.module)) for stage in stages],
        n_maps=len(backbone.pieces.maps),
        to_scores=module.head,
        linear=linear_of_head(module.head),
        one_pass=lambda network: model.backbone.frozen_pass(
            network, classifier._run_options(), "Computing maps"
        ),
    )


def _of_pipeline(subject: Subject) -> _Chain:
    extractor: PretrainedFeatureExtractor = subject.network  # type: ignore[assignment]
    fitted = extractor._fitted
    backbone = fitted.backbone.reference.get()
    linear = linear_of_steps(subject.after_network, fitted.n_features()).to(fitted.backbone.device)
    n_maps, modules = _stages(backbone, fitted.stage, fitted.pooling)
    return _Chain(
        backbone=backbone,
        frozen=fitted.network(),
        trained={},
        modules=modules,
        n_maps=n_maps,
        to_scores=linear,
        linear=linear,
        one_pass=lambda network: fitted.backbone.frozen_pass(
            network, extractor._run_options(), "Computing maps"
        ),
    )


def _stages(
    backbone: Backbone, stage: Any, pooling: str
) -> tuple[int, list[tuple[str, nn.Module]]]:
    """The number of maps, and all modules, on the way to an extractor's features."""
    n_maps = len(backbone.pieces.maps)
    if isinstance(stage, tuple) and len(stage) == 1:
        (stage,) = stage
    if stage is None:
        stages = backbone.feature_stages(pooling)
        return n_maps, [(each.name, each.module) for each in stages]
    named = [(each.name, each.module) for each in backbone.stages]
    names = [name for name, _ in named]
    if stage not in names:  # several, or the scores of the pretrained classifier
        raise ParameterError(
            f"A map is of one stage, and the extractor has stage={stage!r}. Use stage=None or one "
            f"of {names}. Or: {_OCCLUSION}"
        )
    end = names.index(stage) + 1
    if end > n_maps:
        return n_maps, named[:end]
    return end, [*named[:end], ("pooling", backbone.pool(pooling))]


def _at(module: nn.Module, device: str) -> nn.Module:
    """A module on a device; a copy where it would have to move: backbones are shared."""
    tensors = [*module.parameters(), *module.buffers()]
    if all(str(tensor.device) == device for tensor in tensors):
        return module
    return copy.deepcopy(module).to(device)


def chunks(n: int, size: int) -> Sequence[range]:
    """The numbers 0 to n - 1, some at a time."""
    return [range(start, min(n, start + size)) for start in range(0, n, size)]

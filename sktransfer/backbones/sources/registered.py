"""Networks of the user's own, by the names that they were registered under."""

import contextlib
import hashlib
import inspect
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer._common.files import file_identity
from sktransfer._common.random import seeded
from sktransfer.backbones.graph_cuts import check_pieces, cut_whole_by_graph, forward
from sktransfer.backbones.pooling import Pool
from sktransfer.backbones.sources.base import Sizes, Weights
from sktransfer.backbones.stages import CutNetwork, NamedModules
from sktransfer.backbones.tracing import Recorded
from sktransfer.exceptions import BackboneError, WeightsError
from sktransfer.images.preprocessing import Preprocessing

logger = logging.getLogger("sktransfer")

# Packages that bring backbones name them in this group of entry points.
GROUP = "sktransfer.backbones"


@dataclass(frozen=True)
class Registration:
    """A network of the user's own, as `register_backbone` describes it."""

    build: Callable[[], nn.Module]
    preprocessing: Preprocessing
    stages: tuple[str, ...] | None = None
    classifier: str | None = None
    weights: Path | None = None
    sizes: Sizes | None = None


class Registered:
    """Networks that `register_backbone` was called for, here or by an installed package."""

    # Graphs hold sizes as numbers, so that a network is cut for the pictures that it gets.
    is_listed, builds_for_a_size = True, True

    def __init__(self) -> None:
        self.registrations: dict[str, Registration] = {}

    def names(self) -> tuple[str, ...]:
        return tuple({**self.registrations, **_of_packages()})

    def has(self, name: str) -> bool:
        if name not in self.registrations and name in _of_packages():
            _of_packages()[name].load()()
            if name not in self.registrations:
                raise BackboneError(
                    f"The entry point {name!r} of the group {GROUP!r} did not register a backbone "
                    "of its name. It must be a function that calls register_backbone."
                )
        return name in self.registrations

    def _of(self, name: str) -> Registration:
        self.has(name)
        return self.registrations[name]

    def known_sizes(self, name: str) -> Sizes | None:
        return self._of(name).sizes

    def published_weights(self, name: str) -> Mapping[str, Weights]:
        registration = self._of(name)
        path, preprocessing = registration.weights, registration.preprocessing
        if path is None:
            return {"own": Weights("own", preprocessing, origin=f"build() of {name}")}
        version = file_identity(path)
        return {path.name: Weights(path.name, preprocessing, path=str(path), version=version)}

    def preprocessing(self, name: str) -> Preprocessing:
        return self._of(name).preprocessing

    def at_hand(self, weights: Weights) -> bool:
        return True

    def fetch(self, name: str, weights: Weights) -> None:
        return None

    def build(self, name: str, num_classes: int, image_size: int | None) -> nn.Module:
        if self._of(name).weights is None:
            raise BackboneError(
                f"weights=None means random weights, and {name} has those with which build() makes "
                "it. Use weights='DEFAULT'."
            )
        return self._built(name)

    def filled(
        self, name: str, weights: Weights, state: Mapping[str, Tensor]
    ) -> tuple[nn.Module, bool]:
        with seeded(0):  # which leaves the global random state as it is
            network = self._built(name)
        if state:
            try:
                network.load_state_dict(state)
            except RuntimeError as error:
                raise WeightsError(
                    f"The weights {weights.label} are not those of {name}: {str(error)[:300]}"
                ) from error
        return network.float(), self._of(name).classifier is not None

    def _built(self, name: str) -> nn.Module:
        network = self._of(name).build()
        if not isinstance(network, nn.Module):
            raise BackboneError(
                f"build() of the backbone {name!r} must return a torch.nn.Module; it returned "
                f"{network!r:.80}."
            )
        return network.eval()

    def cut(self, name: str, network: nn.Module, weights: Weights) -> CutNetwork:
        of, size = self._of(name), weights.preprocessing.crop_size
        pictures = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        features = _features(name, network, of.classifier, pictures)
        code = identity_of_code(network)
        classifier = network.get_submodule(of.classifier) if of.classifier else nn.Identity()
        try:
            maps, neck = cut_whole_by_graph(
                network, size, classifier=of.classifier, stages=of.stages
            )
            tokens = has_class_token(maps, pictures)
            pieces = CutNetwork(maps, neck, classifier, Pool("avg"), False, tokens, code)
            check_pieces(pieces, pictures, features)
        except BackboneError as error:
            if of.stages:
                raise BackboneError(f"stages={list(of.stages)} of {name}: {error}") from error
            logger.info("%s is one stage, because it can't be cut: %s", name, error)
            if of.classifier:
                network.set_submodule(of.classifier, nn.Identity())
            whole = nn.Sequential(Recorded(network, forward), Pool("avg"))
            pieces = CutNetwork([], [("network", whole)], classifier, nn.Identity(), code=code)
            check_pieces(pieces, pictures, features)
        return pieces


def _of_packages() -> Mapping[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP)}


def _features(name: str, network: nn.Module, classifier: str | None, pictures: Tensor) -> Tensor:
    """What the network computes from pictures, before its classifier."""
    inputs: list[Any] = []
    with torch.inference_mode():
        try:
            if classifier is None:
                features = network(pictures)
            else:
                module = network.get_submodule(classifier)
                hook = module.register_forward_pre_hook(lambda _, given: inputs.extend(given))
                network(pictures)
                hook.remove()
                (features,) = inputs
        # The code is the user's, and may fail in any way.
        except Exception as error:
            raise BackboneError(
                f"{name} can't run on pictures of shape {tuple(pictures.shape)}"
                f"{f' with classifier={classifier!r}' if classifier else ''}: "
                f"{type(error).__name__}: {error}"
            ) from error
    is_right = isinstance(features, Tensor) and features.ndim in (2, 3, 4)
    if not is_right or len(features) != len(pictures):
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise BackboneError(
            f"{name} must give features (n, width), a map (n, c, h, w) or tokens (n, length, c) "
            f"of pictures (n, 3, h, w); of two pictures it gave {found}."
        )
    return features if features.ndim == 2 else Pool("avg")(features)


def has_class_token(maps: NamedModules, pictures: Tensor) -> bool:
    """True if stages end with tokens of which more than those of the positions are there."""
    with torch.inference_mode():
        for _, module in maps:
            pictures = module(pictures)
    length = pictures.shape[1]
    return pictures.ndim == 3 and length != math.isqrt(length) ** 2


def identity_of_code(network: nn.Module) -> str:
    """A digest of the structure of a network, and of the code of all that is not torch's."""
    sha = hashlib.sha256(repr(network).encode())
    for kind in sorted({type(module) for module in network.modules()}, key=repr):
        if not kind.__module__.startswith("torch."):
            with contextlib.suppress(OSError, TypeError):  # typed at a prompt
                sha.update(inspect.getsource(kind).encode())
    return sha.hexdigest()[:16]

"""Networks of the user's own, by the names that they were registered under."""

import copy
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer._common.files import file_identity
from sktransfer._common.random import seeded
from sktransfer.backbones.graph_cuts import (
    are_close,
    check_pieces,
    cut_whole_by_graph,
    forward,
    one_stage,
)
from sktransfer.backbones.pooling import Pool
from sktransfer.backbones.sources.base import Sizes, Weights
from sktransfer.backbones.sources.filling import check_values
from sktransfer.backbones.stages import CutNetwork
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
    n_prefix_tokens: int = 0
    sizes: Sizes | None = None


class Registered:
    """Networks that `register_backbone` was called for, here or by an installed package."""

    # Graphs hold sizes as numbers, so that a network is cut for the pictures that it gets.
    is_listed, builds_for_a_size = True, True

    def __init__(self) -> None:
        self.registrations: dict[str, Registration] = {}

    def names(self) -> tuple[str, ...]:
        for name in _of_packages():
            try:
                self.has(name)
            except BackboneError as error:  # a package that is broken must not hide all others
                logger.info("%s is not listed: %s", name, error)
        return tuple(self.registrations)

    def has(self, name: str) -> bool:
        if name not in self.registrations and name in _of_packages():
            self._register_of_package(name)
        return name in self.registrations

    def _register_of_package(self, name: str) -> None:
        try:
            _of_packages()[name].load()()
        # A package's own code can fail in any way.
        except Exception as error:
            raise BackboneError(
                f"The entry point {name!r} of the group {GROUP!r} failed: "
                f"{type(error).__name__}: {error}"
            ) from error
        if name not in self.registrations:
            raise BackboneError(
                f"The entry point {name!r} of the group {GROUP!r} did not register a backbone "
                "of its name. It must be a function that calls register_backbone."
            )

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
        classifier = self._of(name).classifier
        if weights.path is not None and _load(name, weights, network, state, classifier):
            classifier = None
        return network.float(), classifier is not None

    def _built(self, name: str) -> nn.Module:
        network = self._of(name).build()
        if not isinstance(network, nn.Module):
            raise BackboneError(
                f"build() of the backbone {name!r} must return a torch.nn.Module; it returned "
                f"{network!r:.80}."
            )
        # A copy: `build` may return a model that the user goes on with.
        return copy.deepcopy(network).eval()

    def cut(self, name: str, network: nn.Module, weights: Weights) -> CutNetwork:
        of, shape = self._of(name), weights.preprocessing.shape
        channels, size, _ = shape
        pictures = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        features, scores = _features_and_scores(name, network, of.classifier, pictures)
        pool = Pool("avg", of.n_prefix_tokens)
        features = features if features.ndim == 2 else pool(features)
        code = identity_of_code(network)
        classifier = _classifier(network, of.classifier, features, scores)
        _forbid_folding(network)
        try:
            maps, neck = cut_whole_by_graph(
                *(network, size, pool),
                channels=channels,
                classifier=of.classifier,
                stages=of.stages,
            )
            pieces = CutNetwork(
                maps,
                neck,
                classifier,
                pool,
                has_class_token=of.n_prefix_tokens > 0,
                n_prefix=of.n_prefix_tokens,
                code=code,
            )
            check_pieces(pieces, pictures, features)
        except BackboneError as error:
            if of.stages:
                raise BackboneError(f"stages={list(of.stages)} of {name}: {error}") from error
            if of.classifier:
                network.set_submodule(of.classifier, nn.Identity())
            whole = nn.Sequential(Recorded(network, forward), pool)
            pieces = one_stage(name, whole, classifier, error, code)
            check_pieces(pieces, pictures, features)
        return pieces


def _load(
    name: str,
    weights: Weights,
    network: nn.Module,
    state: Mapping[str, Tensor],
    classifier: str | None,
) -> bool:
    """Put tensors into a network; True if those of its classifier are missing or of other classes.

    Raises
    ------
    WeightsError
    """
    check_values(weights, state)
    own = network.state_dict()
    of_classifier = {key for key in (*own, *state) if key.startswith(f"{classifier}.")}
    shapes = [{key: of[key].shape for key in of_classifier if key in of} for of in (own, state)]
    left_out = of_classifier if shapes[0] != shapes[1] else set()
    missing = sorted(set(own) - set(state) - left_out)
    unknown = sorted(set(state) - set(own) - left_out)
    if missing or unknown:
        raise WeightsError(
            f"The weights {weights.label} are not those of {name}: {len(missing)} tensors are "
            f"missing {missing[:3]}, {len(unknown)} are unknown to it {unknown[:3]}."
        )
    try:
        network.load_state_dict(
            {key: value for key, value in state.items() if key not in left_out}, strict=False
        )
    except RuntimeError as error:  # of other shapes
        raise WeightsError(
            f"The weights {weights.label} are not those of {name}: {str(error)[:300]}"
        ) from error
    return bool(left_out)


def _of_packages() -> Mapping[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP)}


def _features_and_scores(
    name: str, network: nn.Module, classifier: str | None, pictures: Tensor
) -> tuple[Tensor, Tensor]:
    """What enters the classifier, and what the network returns; the same without a classifier."""
    inputs: list[Any] = []
    try:
        with torch.inference_mode():
            if classifier is None:
                features = scores = network(pictures)
            else:
                module = network.get_submodule(classifier)
                hook = module.register_forward_pre_hook(lambda _, given: inputs.extend(given))
                scores = network(pictures)
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
            f"of pictures (n, c, h, w); of two pictures it gave {found}."
        )
    return features, scores


def _classifier(
    network: nn.Module, name: str | None, features: Tensor, scores: Tensor
) -> nn.Module:
    """The classifier; Identity if it does not make the network's scores of its features."""
    if name is None:
        return nn.Identity()
    classifier = network.get_submodule(name)
    try:
        with torch.inference_mode():
            is_last = are_close(classifier(features), scores)
    except RuntimeError:  # of features of another shape, before their pooling
        is_last = False
    return classifier if is_last else nn.Identity()


def _forbid_folding(network: nn.Module) -> None:
    """Mark modules that need not call their children in the order in which they have them."""
    for module in network.modules():
        if type(module) is not nn.Sequential:
            module.calls_in_any_order = True  # type: ignore[assignment]


def identity_of_code(network: nn.Module) -> str:
    """A digest of the structure of a network, of plain attributes and of the code of classes.

    The code of functions that a class calls is not a part of it.
    """
    sha = hashlib.sha256(repr(network).encode())
    for name, module in network.named_modules():
        plain = {key: text for key, value in vars(module).items() if (text := _as_text(value))}
        sha.update(f"{name} {sorted(plain.items())}".encode())
        if not type(module).__module__.startswith("torch."):
            for method in vars(type(module)).values():
                sha.update(_code_of(getattr(method, "__code__", None)))
    return sha.hexdigest()[:16]


def _as_text(value: Any) -> str:
    """Text of a plain value, or of the name of a function; "" of others."""
    if isinstance(value, tuple | list):
        return "".join(f"{_as_text(each)}," for each in value)
    if isinstance(value, int | float | str | bool):
        return repr(value)
    return str(getattr(value, "__qualname__", ""))


def _code_of(code: Any) -> bytes:
    """What a function does, wherever its file is."""
    if code is None:
        return b""
    inner = [each for each in code.co_consts if hasattr(each, "co_code")]
    constants = [each for each in code.co_consts if not hasattr(each, "co_code")]
    own = code.co_code + repr((constants, code.co_names)).encode()
    return own + b"".join(map(_code_of, inner))

"""Build, fill and cut a backbone, once per process."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer._common.plain_tensors import with_plain_tensors, with_tensors
from sktransfer._common.process_memory import get_or_prepare
from sktransfer._common.threads import fork_safe_threads
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.input_channels import adapt_input
from sktransfer.backbones.names import source_of
from sktransfer.backbones.networks import build_random
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import find_weights, read_weights
from sktransfer.exceptions import BackboneError, WeightsError
from sktransfer.images.preprocessing import Preprocessing


def load_backbone(
    name: str,
    weights: str | Path | None = "DEFAULT",
    seed: int = 0,
    image_size: int | None = None,
    in_channels: int = 3,
) -> Backbone:
    """Load the backbone `name` with `weights`; a process reads them once.

    Parameters
    ----------
    name : str
        A name that a source has.
    weights : str, Path or None
        As the estimators' parameter.
    seed : int
        Seed of random weights.
    image_size : int, optional
        Side of the pictures, for networks that are built for one size. Default: that of the
        weights.
    in_channels : int
        Channels of the pictures.

    Raises
    ------
    BackboneError
        If the name or the weights are unknown, or the network can't have pictures of this size or
        of so many channels.
    WeightsError
        If the weights are damaged or another network's.
    WeightsUnavailableError
        If they can't be downloaded.
    """
    found = find_weights(name, weights)
    if source_of(name).builds_for_a_size:
        found = replace(found, preprocessing=found.preprocessing.at_size(image_size))
    own = len(found.preprocessing.mean)
    if own not in (3, in_channels):
        raise BackboneError(
            f"{name} was registered for pictures of {own} channels, but in_channels={in_channels}. "
            f"Set in_channels={own}."
        )
    found = replace(found, preprocessing=found.preprocessing.with_channels(in_channels))
    # Weights from a file do not depend on the seed: one object serves all seeds.
    seed = seed if found.is_random else 0
    with fork_safe_threads():  # weights are drawn and copied by several
        return get_or_prepare(
            (name, found, seed), lambda: _load(name, found, seed), Backbone.n_bytes
        )


@dataclass(frozen=True)
class WholeBackbone:
    """All that a backbone is made of, where its weights need not be found again.

    Parameters
    ----------
    label : str
        The name of the weights.
    preprocessing : Preprocessing
        Of the backbone, for its size and channels.
    is_random : bool
    tensors : mapping of str to Tensor
        As `Backbone.tensors`.
    digest : str
        That of the backbone.
    license, origin : str
        Of the weights.
    """

    label: str
    preprocessing: Preprocessing
    is_random: bool
    tensors: Mapping[str, Tensor]
    digest: str
    license: str
    origin: str

    def __getstate__(self) -> dict[str, Any]:
        return dict(with_plain_tensors({**vars(self), "tensors": dict(self.tensors)}))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(with_tensors(state))

    def load(self, name: str) -> Backbone:
        """The backbone `name`; a process makes it once.

        Raises
        ------
        WeightsError
            If the tensors are those of another network.
        """
        # The path says that these are weights as those of a file, whose tensors are at hand.
        path = None if self.is_random else "of a model file"
        weights = Weights(self.label, self.preprocessing, path=path)

        def loaded() -> Backbone:
            backbone = _made(name, weights, *self._filled(name, weights))
            if backbone.digest != self.digest:
                raise WeightsError(f"The tensors are not those of {name} with {self.label}.")
            return backbone

        with fork_safe_threads():
            key = (name, "whole", self.label, self.digest)
            return get_or_prepare(key, loaded, Backbone.n_bytes)

    def _filled(self, name: str, weights: Weights) -> tuple[nn.Module, bool]:
        if not self.is_random:
            return source_of(name).filled(name, weights, self.tensors)
        network = _random(name, 0, self.preprocessing)
        own = network.state_dict()
        if {key: value.shape for key, value in own.items()} != {
            key: value.shape for key, value in self.tensors.items()
        }:
            raise WeightsError(f"The tensors are not those of {name}.")
        # Not by load_state_dict, in which some networks want the version of a published file.
        for key, value in self.tensors.items():
            own[key].copy_(value)
        return network, False


def _load(name: str, weights: Weights, seed: int) -> Backbone:
    if weights.is_random:
        return _made(name, weights, _random(name, seed, weights.preprocessing), False)
    return _made(name, weights, *source_of(name).filled(name, weights, read_weights(name, weights)))


def _random(name: str, seed: int, preprocessing: Preprocessing) -> nn.Module:
    size = preprocessing.crop_size if source_of(name).builds_for_a_size else None
    return build_random(name, seed, size)


def _made(name: str, weights: Weights, network: nn.Module, has_classifier: bool) -> Backbone:
    """The backbone of a network that has its weights."""
    source, preprocessing = source_of(name), weights.preprocessing
    of_rgb = dict(network.state_dict())
    if len(preprocessing.mean) != len(source.preprocessing(name).mean):
        adapt_input(name, network, preprocessing.shape)
    # Convolutions on CPUs and GPUs run up to twice as fast in this order of memory.
    network = network.to(memory_format=torch.channels_last)
    tensors = {
        key: tensor if tensor.shape == of_rgb[key].shape else of_rgb[key]
        for key, tensor in network.state_dict().items()
        if not tensor.is_meta  # of a classifier that the weights do not have
    }
    pieces = source.cut(name, network, weights)
    return Backbone(
        name,
        pieces,
        preprocessing,
        pretrained=not weights.is_random,
        # Some networks have no module that computes scores from features.
        has_classifier=has_classifier and not isinstance(pieces.classifier, nn.Identity),
        tensors=tensors,
    )

"""Build, fill and cut a backbone, once per process."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from sktransfer._common.process_memory import get_or_prepare
from sktransfer._common.threads import fork_safe_threads
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.input_channels import adapt_input
from sktransfer.backbones.names import source_of
from sktransfer.backbones.networks import build_random
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import find_weights, read_weights
from sktransfer.exceptions import BackboneError


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


def _load(name: str, weights: Weights, seed: int) -> Backbone:
    source = source_of(name)
    if weights.is_random:
        size = weights.preprocessing.crop_size if source.builds_for_a_size else None
        network, has_classifier = build_random(name, seed, size), False
    else:
        network, has_classifier = source.filled(name, weights, read_weights(name, weights))
    preprocessing = weights.preprocessing
    if len(preprocessing.mean) != len(source.preprocessing(name).mean):
        adapt_input(name, network, preprocessing.shape)
    # Convolutions on CPUs and GPUs run up to twice as fast in this order of memory.
    network = network.to(memory_format=torch.channels_last)
    pieces = source.cut(name, network, weights)
    return Backbone(
        name,
        pieces,
        preprocessing,
        pretrained=not weights.is_random,
        # Some networks have no module that computes scores from features.
        has_classifier=has_classifier and not isinstance(pieces.classifier, nn.Identity),
    )

"""Build, fill and cut a backbone, once a process."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sktransfer._common.process_memory import kept
from sktransfer._common.threads import surviving_threads
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.lite0 import from_published_names
from sktransfer.backbones.networks import build_empty, build_random, check_backbone_name
from sktransfer.backbones.weights import WeightsSource, find_weights, read_state
from sktransfer.exceptions import WeightsError


def load_backbone(name: str, weights: str | Path | None = "DEFAULT", seed: int = 0) -> Backbone:
    """Load the backbone `name` with `weights`, read once a process.

    Parameters
    ----------
    name : str
        One of `backbone_names`.
    weights : str, Path or None
        As the estimators' parameter.
    seed : int
        Where random weights start from.

    Raises
    ------
    BackboneError
        If the name or the weights are unknown.
    WeightsError
        If the weights are damaged or another network's.
    WeightsUnavailableError
        If they can't be downloaded.
    """
    check_backbone_name(name)
    source = find_weights(name, weights)
    seed = seed if source.is_random else 0
    with surviving_threads():  # weights are drawn and copied by several
        return kept((name, source, seed), lambda: _load(name, source, seed), Backbone.n_bytes)


def _load(name: str, source: WeightsSource, seed: int) -> Backbone:
    if source.is_random:
        network, has_classifier = build_random(name, seed), False
    else:
        network, has_classifier = _pretrained(name, source)
    # Convolutions on CPUs and GPUs run up to twice as fast in this order of memory.
    network = network.to(memory_format=torch.channels_last)
    return Backbone.from_network(
        name,
        network,
        source.preprocessing,
        pretrained=not source.is_random,
        has_classifier=has_classifier,
    )


def _pretrained(name: str, source: WeightsSource) -> tuple[nn.Module, bool]:
    """A network filled with the weights of `source`, and whether they had a classifier."""
    state = _in_todays_names(name, read_state(name, source))
    classifier = list(build_empty(name).state_dict())[-1].rpartition(".")[0]
    has_classifier = f"{classifier}.weight" in state
    # Written so that a weight of no dimensions is told by its shape, like any other.
    num_classes = next(iter(state[f"{classifier}.weight"].shape), 1) if has_classifier else 1000
    network = build_empty(name, num_classes, source.preprocessing.crop_size)
    expected = network.state_dict()
    # Batch counts only serve training with a running average; old files lack them.
    needed = [key for key in expected if not key.endswith(".num_batches_tracked")]
    if not has_classifier:
        needed = [key for key in needed if not key.startswith(f"{classifier}.")]
    _check_state(name, source, state, expected, needed)
    network.load_state_dict(state, strict=False, assign=True)
    return network, has_classifier


# Heads that only served training from scratch.
_AUXILIARY = re.compile(r"^(AuxLogits|aux1|aux2)\.")
# DenseNet's published files still have the dots that module names may no longer have.
_DOTTED_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def _in_todays_names(name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    renamed = from_published_names(state) if name == "efficientnet_lite0" else state
    todays = OrderedDict(
        (
            _DOTTED_DENSE_LAYER.sub(r"\1\2", key) if name.startswith("densenet") else key,
            value.float() if value.is_floating_point() else value,
        )
        for key, value in renamed.items()
        if not _AUXILIARY.match(key)
    )
    # torch keeps the version of each module's format here; MNASNet insists on one.
    todays._metadata = getattr(state, "_metadata", {"": {"version": 2}})  # type: ignore[attr-defined]
    return todays


def _check_state(
    name: str,
    source: WeightsSource,
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    needed: list[str],
) -> None:
    """Raise unless `state` has the network's names, shapes and kinds, and nothing else."""
    missing = [k for k in needed if k not in state]
    unknown = [k for k in state if k not in expected]
    if missing or unknown:
        raise WeightsError(
            f"The weights {source.label} are not those of {name}: {len(missing)} of its "
            f"{len(expected)} tensors are missing {missing[:3]}, {len(unknown)} are unknown to it "
            f"{unknown[:3]}. Does backbone={name!r} fit the file?"
        )
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise WeightsError(
                f"The weights {source.label} do not fit {name}: {key} has shape "
                f"{tuple(value.shape)}, expected {tuple(expected[key].shape)}."
            )
        counts_batches = key.endswith(".num_batches_tracked")  # by which nothing is computed
        same_kind = value.is_floating_point() == expected[key].is_floating_point()
        if value.is_meta or value.layout != torch.strided or not (same_kind or counts_batches):
            values = "no values" if value.is_meta else f"{value.layout} values of {value.dtype}"
            raise WeightsError(
                f"The weights {source.label} can't be used: {key} has {values}, where dense ones "
                f"of {expected[key].dtype} are expected. Save them before any quantisation."
            )

"""Build, fill and cut a backbone, once per process."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sktransfer._common.process_memory import get_or_prepare
from sktransfer._common.threads import fork_safe_threads
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.names import source_of
from sktransfer.backbones.networks import build_empty, build_random
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import find_weights, read_weights
from sktransfer.exceptions import WeightsError


def load_backbone(name: str, weights: str | Path | None = "DEFAULT", seed: int = 0) -> Backbone:
    """Load the backbone `name` with `weights`; a process reads them once.

    Parameters
    ----------
    name : str
        One of `backbone_names`.
    weights : str, Path or None
        As the estimators' parameter.
    seed : int
        Seed of random weights.

    Raises
    ------
    BackboneError
        If the name or the weights are unknown.
    WeightsError
        If the weights are damaged or another network's.
    WeightsUnavailableError
        If they can't be downloaded.
    """
    found = find_weights(name, weights)
    # Weights from a file do not depend on the seed: one object serves all seeds.
    seed = seed if found.is_random else 0
    with fork_safe_threads():  # weights are drawn and copied by several
        return get_or_prepare(
            (name, found, seed), lambda: _load(name, found, seed), Backbone.n_bytes
        )


def _load(name: str, weights: Weights, seed: int) -> Backbone:
    if weights.is_random:
        network, has_classifier = build_random(name, seed), False
    else:
        network, has_classifier = _pretrained(name, weights)
    # Convolutions on CPUs and GPUs run up to twice as fast in this order of memory.
    network = network.to(memory_format=torch.channels_last)
    return Backbone(
        name,
        source_of(name).cut(network, pretrained=not weights.is_random),
        weights.preprocessing,
        pretrained=not weights.is_random,
        has_classifier=has_classifier,
    )


def _pretrained(name: str, weights: Weights) -> tuple[nn.Module, bool]:
    """A network filled with `weights`, and whether they had a classifier."""
    state = _loadable(name, read_weights(name, weights))
    # Built twice: a file may have another number of classes, and only the network's own names say
    # which of its tensors are the classifier. Without values this takes 0.03 to 0.3 s.
    classifier = list(build_empty(name).state_dict())[-1].rpartition(".")[0]
    has_classifier = f"{classifier}.weight" in state
    # A weight without dimensions counts as one class, so that the check of shapes reports it.
    num_classes = next(iter(state[f"{classifier}.weight"].shape), 1) if has_classifier else 1000
    network = build_empty(name, num_classes, weights.preprocessing.crop_size)
    expected = network.state_dict()
    # Batch counts only serve training with a running average; old files lack them.
    needed = [key for key in expected if not key.endswith(".num_batches_tracked")]
    if not has_classifier:
        needed = [key for key in needed if not key.startswith(f"{classifier}.")]
    _check_state(name, weights, state, expected, needed)
    # Assigned, because nothing can be copied into a tensor without memory; this also saves a copy.
    network.load_state_dict(state, strict=False, assign=True)
    return network, has_classifier


def _loadable(name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` under the network's own names, in single precision, with torch's metadata."""
    renamed = source_of(name).renamed(name, state).items()
    loadable = OrderedDict((k, v.float() if v.is_floating_point() else v) for k, v in renamed)
    # torch keeps the version of each module's format here; MNASNet insists on one.
    loadable._metadata = getattr(state, "_metadata", {"": {"version": 2}})  # type: ignore[attr-defined]
    return loadable


def _check_state(
    name: str,
    weights: Weights,
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    needed: list[str],
) -> None:
    """Raise unless `state` has the network's names, shapes and kinds, and nothing else."""
    missing = [k for k in needed if k not in state]
    unknown = [k for k in state if k not in expected]
    if missing or unknown:
        raise WeightsError(
            f"The weights {weights.label} are not those of {name}: {len(missing)} of its "
            f"{len(expected)} tensors are missing {missing[:3]}, {len(unknown)} are unknown to it "
            f"{unknown[:3]}. Does backbone={name!r} fit the file?"
        )
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise WeightsError(
                f"The weights {weights.label} do not fit {name}: {key} has shape "
                f"{tuple(value.shape)}, expected {tuple(expected[key].shape)}."
            )
        counts_batches = key.endswith(".num_batches_tracked")  # by which nothing is computed
        same_kind = value.is_floating_point() == expected[key].is_floating_point()
        if value.is_meta or value.layout != torch.strided or not (same_kind or counts_batches):
            values = "no values" if value.is_meta else f"{value.layout} values of {value.dtype}"
            raise WeightsError(
                f"The weights {weights.label} can't be used: {key} has {values}, where dense ones "
                f"of {expected[key].dtype} are expected. Save them before any quantisation."
            )

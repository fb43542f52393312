"""Fill a network with a state dict that has its own names, and nothing else."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.without_values import ParametersOnMeta
from sktransfer.exceptions import WeightsError


def filled_by_names(
    name: str, build: Callable[[int], nn.Module], weights: Weights, state: Mapping[str, Tensor]
) -> tuple[nn.Module, bool]:
    """A network filled with `weights`, and whether they had a classifier.

    Parameters
    ----------
    name : str
        The backbone, for messages.
    build : callable
        Makes the network for a number of classes. The last entry of its state dict belongs to
        the classifier.
    weights : Weights
    state : mapping of str to Tensor
        Under the network's own names.

    Raises
    ------
    WeightsError
        If `state` lacks tensors of the network, or has others, or other shapes.
    """
    state = _in_single_precision(state)

    def build_empty(num_classes: int) -> nn.Module:
        with ParametersOnMeta():
            return build(num_classes).eval()

    # Built twice: a file may have another number of classes, and only the network's own names say
    # which of its tensors are the classifier. Without values this takes 0.03 to 0.3 s.
    classifier = list(build_empty(1000).state_dict())[-1].rpartition(".")[0]
    has_classifier = f"{classifier}.weight" in state
    # A weight without dimensions counts as one class, so that the check of shapes reports it.
    num_classes = next(iter(state[f"{classifier}.weight"].shape), 1) if has_classifier else 1000
    network = build_empty(num_classes)
    expected = network.state_dict()
    # Batch counts only serve training with a running average; old files lack them.
    needed = [key for key in expected if not key.endswith(".num_batches_tracked")]
    if not has_classifier:
        needed = [key for key in needed if not key.startswith(f"{classifier}.")]
    _check_state(name, weights, state, expected, needed)
    check_values(weights, state)
    # Assigned, because nothing can be copied into a tensor without memory; this also saves a copy.
    network.load_state_dict(state, strict=False, assign=True)
    return network, has_classifier


def _in_single_precision(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` in single precision, with torch's metadata."""
    loadable = OrderedDict((k, v.float() if v.is_floating_point() else v) for k, v in state.items())
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
        if not (same_kind or counts_batches):
            raise _unusable(weights, key, value)


def check_values(weights: Weights, state: Mapping[str, Tensor]) -> None:
    """Raise if tensors have no values, or sparse or quantised ones.

    Raises
    ------
    WeightsError
    """
    for key, value in state.items():
        is_short = value.ndim > 0 and value.dtype in (torch.int8, torch.uint8)
        if value.is_meta or value.layout != torch.strided or value.is_quantized or is_short:
            raise _unusable(weights, key, value)


def _unusable(weights: Weights, key: str, value: Tensor) -> WeightsError:
    values = "no values" if value.is_meta else f"{value.layout} values of {value.dtype}"
    return WeightsError(
        f"The weights {weights.label} can't be used: {key} has {values}, where dense ones of "
        "floating point are expected. Save them before any quantisation."
    )

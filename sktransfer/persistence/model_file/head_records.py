"""The layers of a head as records; their tensors are named by the number of the layer."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.tensors import Tensors
from sktransfer.training.head import Dropout, NormalisedLinear, Scaled

_KINDS = ("Linear", "ReLU", "Dropout", "Scaled", "NormalisedLinear")


def head_records(head: nn.Sequential, tensors: Tensors, place: str) -> list[dict[str, Any]]:
    """One record for each layer."""
    return [_record(layer, tensors, f"{place}/{i}") for i, layer in enumerate(head)]


def _record(layer: nn.Module, tensors: Tensors, place: str) -> dict[str, Any]:
    record: dict[str, Any] = {"layer": type(layer).__name__}
    assert record["layer"] in _KINDS
    tensors.put_all(place, layer.state_dict())
    if isinstance(layer, Dropout):
        record["p"] = layer.p
    if isinstance(layer, NormalisedLinear):
        has_length, row_length, n_rows = layer.numbers
        record |= {"has_length": has_length, "row_length": row_length, "n_rows": n_rows}
    return record


def head_of(records: list[Fields], tensors: Tensors, place: str) -> nn.Sequential:
    """The head of records.

    Raises
    ------
    ModelFileError
        If the layers do not fit each other.
    """
    layers = [_layer(fields, tensors, f"{place}/{i}") for i, fields in enumerate(records)]
    sizes = [each.weight.shape for each in map(_linear, layers) if each is not None]
    if not sizes or any(a[0] != b[1] for a, b in itertools.pairwise(sizes)):
        raise ModelFileError("The layers of its head do not fit each other.")
    if _linear(layers[-1]) is None:
        raise ModelFileError("Its head does not end with a linear layer.")
    return nn.Sequential(*layers).eval()


def _layer(fields: Fields, tensors: Tensors, place: str) -> nn.Module:
    kind = fields.one_of("layer", _KINDS)
    if kind == "Linear":
        layer: nn.Module = _linear_of(tensors, f"{place}/")
    elif kind == "ReLU":
        layer = nn.ReLU()
    elif kind == "Dropout":
        p = fields.number("p")
        layer = Dropout(p) if 0 <= p <= 1 else fields.refuse("p", p)
    elif kind == "Scaled":
        length = _float32(tensors.take(f"{place}/length"), 0)
        layer = Scaled(length)  # whose root mean square is the length itself
        layer.length.copy_(length)
    else:
        layer = _normalised(fields, tensors, place)
    fields.end()
    return layer


def _normalised(fields: Fields, tensors: Tensors, place: str) -> NormalisedLinear:
    linear = _linear_of(tensors, f"{place}/linear.")
    mean, length = (
        _float32(tensors.take(f"{place}/{n}"), d) for n, d in (("mean", 1), ("length", 0))
    )
    if len(mean) != linear.in_features or length <= 0:
        raise ModelFileError(f"{fields.place} has tensors that do not fit each other.")
    layer = NormalisedLinear(mean, length, 1)
    numbers = fields.take("has_length", bool), fields.number("row_length"), fields.number("n_rows")
    layer.restore(length, linear, numbers)
    return layer


def _linear_of(tensors: Tensors, place: str) -> nn.Linear:
    weight = _float32(tensors.take(f"{place}weight"), 2)
    bias = _float32(tensors.take(f"{place}bias"), 1)
    if len(weight) != len(bias) or not weight.numel():
        raise ModelFileError("A layer of its head has tensors that do not fit each other.")
    linear = skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear


def _float32(tensor: Tensor, ndim: int) -> Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim != ndim:
        raise ModelFileError("A tensor of its head has another dtype or shape.")
    return tensor


def _linear(layer: nn.Module) -> nn.Linear | None:
    if isinstance(layer, NormalisedLinear):
        return layer.linear
    return layer if isinstance(layer, nn.Linear) else None


def width_of(head: nn.Sequential) -> int:
    """Number of features that a head takes."""
    return next(linear.in_features for linear in map(_linear, head) if linear is not None)


def n_scores(head: nn.Sequential) -> int:
    """Number of scores that a head gives."""
    last = _linear(head[-1])
    assert last is not None
    return last.out_features

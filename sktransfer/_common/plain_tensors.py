"""Tensors as arrays of bytes, for the state of objects that are pickled.

torch pickles a tensor as bytes that hold a second pickle, and skorch does so with whole modules.
Nobody who checks the types in the outer pickle, as `skops` does, sees the code in the inner one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sktransfer._common.tensors import bytes_of


@dataclass(frozen=True)
class PlainTensor:
    """A tensor as bytes.

    Parameters
    ----------
    content : ndarray of shape (n_bytes,), uint8
        Without the tensor's strides: its axes come in the order of memory.
    dtype : str
        Its name in torch; numpy lacks some.
    shape : tuple of int
        Of the axes in the order of memory.
    axes : tuple of int
        Where each axis of the tensor is in memory. Those of maps may come last in it, and sums in
        another order would differ in the last digits.
    requires_grad : bool or None
        None for a tensor that is no parameter.
    """

    content: np.ndarray
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    requires_grad: bool | None

    @classmethod
    def of(cls, tensor: Tensor) -> PlainTensor:
        """The bytes of a tensor on any device."""
        in_memory = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        values = tensor.permute(in_memory)
        return cls(
            content=bytes_of(values),
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tuple(values.shape),
            axes=tuple(in_memory.index(axis) for axis in range(tensor.ndim)),
            requires_grad=tensor.requires_grad if isinstance(tensor, nn.Parameter) else None,
        )

    def tensor(self) -> Tensor:
        """The tensor, on the CPU and in memory of its own."""
        flat = torch.tensor(self.content, dtype=torch.uint8).view(getattr(torch, self.dtype))
        tensor = flat.view(self.shape).permute(self.axes)
        if self.requires_grad is None:
            return tensor
        return nn.Parameter(tensor, requires_grad=self.requires_grad)


def with_plain_tensors(value: Any) -> Any:
    """A copy of nested dicts, tuples and modules, with `PlainTensor` objects for their tensors."""
    if isinstance(value, nn.Module):
        tensors = {
            id(each): PlainTensor.of(each)
            for holder in _holders(value)
            for each in holder.values()
            if isinstance(each, Tensor)
        }
        # deepcopy takes these for copied already.
        return copy.deepcopy(value, dict[int, Any](tensors))
    if isinstance(value, Tensor):
        return PlainTensor.of(value)
    return _mapped(value, with_plain_tensors)


def with_tensors(value: Any) -> Any:
    """The same with tensors again; modules are changed in place."""
    if isinstance(value, nn.Module):
        tensors: dict[int, Tensor] = {}  # layers may share a parameter
        for holder in _holders(value):
            for name, each in holder.items():
                if isinstance(each, PlainTensor):
                    if id(each) not in tensors:
                        tensors[id(each)] = each.tensor()
                    holder[name] = tensors[id(each)]
        return value
    if isinstance(value, PlainTensor):
        return value.tensor()
    return _mapped(value, with_tensors)


def _holders(module: nn.Module) -> Iterator[dict[str, Any]]:
    """The dicts that hold the tensors of a module."""
    for part in module.modules():
        yield from (part._parameters, part._buffers, vars(part))


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    if type(value) is dict:
        return {key: function(each) for key, each in value.items()}
    if isinstance(value, tuple):
        each = map(function, value)
        return type(value)(*each) if hasattr(value, "_fields") else type(value)(each)
    return value

"""The tensors of a model file, each with its digest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sktransfer._common.tensors import bytes_of
from sktransfer.exceptions import ModelFileError, ParameterError
from sktransfer.persistence.model_file.fields import Fields

NAME = "tensors.safetensors"
# All that networks, heads and optimizers hold. float64 are the statistics of an adapted BatchNorm.
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}
# Names, dtypes and places of all tensors, in the format of safetensors.
_MAX_HEADER = 2**24
_MAX_AXES = 8


class Tensors:
    """Tensors by name: those that are being written, or those of a file.

    Parameters
    ----------
    tensors : mapping of str to Tensor, optional
        Those of a file. Whoever takes one removes it, and at the end none may be left.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self._tensors = dict(tensors or {})

    def put(self, name: str, tensor: Tensor) -> str:
        """Add a tensor, and return its name.

        Raises
        ------
        ParameterError
            If it has other values than finite numbers.
        """
        assert name not in self._tensors
        if tensor.dtype not in _DTYPES.values() or not torch.isfinite(tensor).all():
            raise ParameterError(
                f"The tensor {name!r} has values that are NaN, infinite or of {tensor.dtype}, and "
                "a model file can't hold them. Fit the estimator again."
            )
        # A copy in the usual order of memory, and of its own: networks may share tensors, which
        # safetensors refuses.
        self._tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        return name

    def put_all(self, prefix: str, tensors: Mapping[str, Tensor]) -> list[str]:
        """Add tensors under a prefix, and return their names without it."""
        for name, tensor in tensors.items():
            self.put(f"{prefix}/{name}", tensor)
        return list(tensors)

    def take(self, name: str) -> Tensor:
        """Remove a tensor, and return it."""
        if name not in self._tensors:
            raise ModelFileError(f"The tensor {name!r:.80} is missing, or used twice.")
        return self._tensors.pop(name)

    def take_all(self, prefix: str, names: Iterable[str]) -> dict[str, Tensor]:
        """Remove tensors under a prefix, and return them by the rest of their names."""
        return {name: self.take(f"{prefix}/{name}") for name in names}

    def end(self) -> None:
        """Raise if there are tensors that were not taken."""
        if self._tensors:
            raise ModelFileError(f"It has tensors of no use: {list(self._tensors)[:3]!r:.200}.")

    def table(self) -> dict[str, dict[str, Any]]:
        """Dtype, shape and digest of each tensor, for the manifest."""
        return {
            name: {
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "shape": list(tensor.shape),
                "sha256": digest(tensor),
            }
            for name, tensor in self._tensors.items()
        }

    def as_bytes(self) -> bytes:
        """All of them in the format of safetensors."""
        return safetensors.torch.save(self._tensors)


def check_size(size: int, table: Mapping[str, Any]) -> None:
    """Raise unless tensors of a table take so many bytes, before any of them is read.

    Raises
    ------
    ModelFileError
    """
    needed = 0
    for name, record in table.items():
        fields = Fields(record, f"tensors[{name!r:.80}]")
        shape, dtype = fields.take("shape", list), fields.one_of("dtype", _DTYPES)
        sides = all(type(side) is int and 0 <= side < 2**40 for side in shape)
        if not sides or len(shape) > _MAX_AXES:
            fields.refuse("shape", shape)
        needed += math.prod(shape) * _DTYPES[dtype].itemsize
    if not needed <= size <= needed + _MAX_HEADER:
        raise ModelFileError(f"Its tensors take {size} bytes, and its manifest names {needed}.")


def read_tensors(content: bytes, table: Mapping[str, Any]) -> Tensors:
    """The tensors of a file, if they are those of the manifest's table.

    Raises
    ------
    ModelFileError
    """
    try:
        tensors = safetensors.torch.load(content)
    # safetensors checks names, offsets and shapes against the length; KeyError: a dtype of others.
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ModelFileError(f"Its tensors can't be read: {str(error)[:200]}") from error
    if tensors.keys() != table.keys():
        raise ModelFileError("Its tensors are not those that the manifest names.")
    for name, tensor in tensors.items():
        fields = Fields(table[name], f"tensors[{name!r:.80}]")
        same = (
            tensor.dtype == _DTYPES.get(fields.text("dtype"))
            and list(tensor.shape) == fields.take("shape", list)
            and digest(tensor) == fields.text("sha256")
        )
        fields.end()
        if not same or not torch.isfinite(tensor).all():
            raise ModelFileError(f"The tensor {name!r:.80} is not the one that the manifest names.")
        # Into memory that begins where torch's begins, at a multiple of 64 bytes: elsewhere, a
        # processor's libraries may sum in another order.
        tensors[name] = tensor.clone()
    return Tensors(tensors)


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, in hexadecimal."""
    return sha256(bytes_of(tensor).data).hexdigest()

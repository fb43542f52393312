"""Values of parameters as JSON, and back: plain ones, and classes of torch by name.

What JSON has is written as it is. Anything else is a record with a `kind`. Nothing is called to
make a value but the constructors of the types that are named here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch.nn.modules.loss import _Loss
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.fields import Budget, Fields

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
# Kinds of numpy's dtypes whose values JSON holds exactly; "O" for labels of several types.
_KINDS = "biufUO"
_MAX_DEPTH = 20
_MAX_ITEMS = 100_000
_MAX_BYTES = 2**27  # of an array that is written; `Budget` limits those that are read
# Which classes of torch a parameter may name: nothing of them runs before the next `fit`.
_OF_TORCH: Mapping[str, tuple[Any, tuple[type, ...]]] = {
    "optim": (torch.optim, (torch.optim.Optimizer,)),
    "optim.lr_scheduler": (torch.optim.lr_scheduler, (LRScheduler, ReduceLROnPlateau)),
    "nn": (torch.nn, (_Loss,)),
}


class NotPlainError(ValueError):
    """A value can't be in a model file."""


def plain(value: Any, other: Callable[[Any], Any] | None = None, depth: int = 0) -> Any:
    """A value as JSON.

    Parameters
    ----------
    value : object
    other : callable, optional
        Gives a record for what is not plain, such as an estimator, or raises NotPlainError.

    Raises
    ------
    NotPlainError
    """
    if depth > _MAX_DEPTH:
        raise NotPlainError("holds values within values, too deep")

    def inner(each: Any) -> Any:
        return plain(each, other, depth + 1)

    if value is None or type(value) in (bool, str, int):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"kind": "float", "value": repr(value)}
    if type(value) is list:
        return [inner(each) for each in value]
    if type(value) is tuple:
        return {"kind": "tuple", "values": [inner(each) for each in value]}
    if isinstance(value, Mapping) and type(value) is dict:
        pairs = [[inner(key), inner(each)] for key, each in value.items()]
        return {"kind": "dict", "items": pairs}
    if isinstance(value, PurePath):
        return {"kind": "path", "value": str(value)}
    if isinstance(value, np.generic):
        return {"kind": "number", "array": array_record(np.asarray(value)[None])}
    if type(value) is np.ndarray:
        return {"kind": "array", "array": array_record(value)}
    if type(value) is np.random.RandomState:
        return {"kind": "random_state", "values": inner(list(_state_of(value)))}
    named = _name_in_torch(value)
    if named is not None:
        return {"kind": "torch", "module": named[0], "name": named[1]}
    if other is None:
        raise NotPlainError(f"is a {type(value).__module__}.{type(value).__qualname__}")
    return other(value)


def from_plain(
    given: Any,
    place: str,
    other: Callable[[Fields, str], Any] | None = None,
    depth: int = 0,
    budget: Budget | None = None,
) -> Any:
    """The value that `plain` wrote.

    Parameters
    ----------
    given : object
        What JSON gave.
    place : str
        For messages.
    other : callable, optional
        Makes a value of a record of a kind that `plain` does not know.
    budget : Budget, optional
        That of the file.

    Raises
    ------
    ModelFileError
    """
    budget = Budget() if budget is None else budget

    def inner(each: Any) -> Any:
        return from_plain(each, place, other, depth + 1, budget)

    if depth > _MAX_DEPTH:
        raise ModelFileError(f"{place} holds values within values, too deep.")
    if given is None or type(given) in (bool, str, int, float):
        return given
    if type(given) is list:
        return [inner(each) for each in given]
    fields = Fields(given, place, budget)
    kind = fields.text("kind")
    if kind in _READERS:
        value = _READERS[kind](fields, inner)
    elif other is not None:
        value = other(fields, kind)
    else:
        raise ModelFileError(f"{place} is of the unknown kind {kind!r:.80}.")
    fields.end()
    return value


def array_record(array: np.ndarray) -> dict[str, Any]:
    """An array of plain values as JSON; also one of the labels of classes.

    Raises
    ------
    NotPlainError
    """
    if array.dtype.kind not in _KINDS or (array.dtype.itemsize > 8 and array.dtype.kind in "iuf"):
        raise NotPlainError(f"has values of {array.dtype}")
    if array.nbytes > _MAX_BYTES:
        raise NotPlainError(f"takes {array.nbytes:,} bytes")
    values = [plain(each) for each in array.ravel().tolist()]
    return {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}


def array_of(fields: Fields) -> np.ndarray:
    """The array that `array_record` wrote.

    Raises
    ------
    ModelFileError
    """
    name, shape, values = (fields.take(each, kind) for each, kind in _OF_ARRAY)
    fields.end()
    values = [from_plain(each, fields.place) for each in values]
    sizes = all(type(side) is int and side >= 0 for side in shape)
    if not sizes or len(shape) > 8 or math.prod(shape) != len(values):
        raise ModelFileError(
            f"{fields.place} has {len(values)} values for the shape {shape!r:.80}."
        )
    try:
        dtype = np.dtype(name)
        fields.budget.spend(len(values) * dtype.itemsize)
        if dtype.kind not in _KINDS or dtype.str != name:
            raise ValueError(f"not a dtype of labels: {name!r:.80}")
        array = np.empty(len(values), dtype)
        array[:] = values
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ModelFileError(f"{fields.place} is no array: {str(error)[:200]}") from error
    if array.tolist() != values and not _are_nan(array, values):
        raise ModelFileError(f"{fields.place} has values that are not of {name}.")
    return array.reshape(shape)


_OF_ARRAY: tuple[tuple[str, Any], ...] = (("dtype", str), ("shape", list), ("values", list))


def _are_nan(array: np.ndarray, values: list[Any]) -> bool:
    both = zip(array.tolist(), values, strict=True)
    return all(a == b or (a != a and b != b) for a, b in both)


def _number(fields: Fields, _: Any) -> Any:
    array = array_of(fields.record("array"))
    if array.shape != (1,) or array.dtype.kind == "O":
        raise ModelFileError(f"{fields.place} is no number.")
    return array[0]


def _dict(fields: Fields, inner: Callable[[Any], Any]) -> dict[Any, Any]:
    items = fields.take("items", list)
    if not all(type(pair) is list and len(pair) == 2 for pair in items):
        raise ModelFileError(f"{fields.place} holds no pairs.")
    keys = [inner(key) for key, _ in items]
    if len(items) > _MAX_ITEMS or not all(map(_is_key, keys)):
        raise ModelFileError(f"{fields.place} has too many keys, or one that can't be one.")
    pairs = {key: inner(value) for key, (_, value) in zip(keys, items, strict=True)}
    if len(pairs) < len(items):
        raise ModelFileError(f"{fields.place} has a key twice.")
    return pairs


def _is_key(key: Any) -> bool:
    # Numbers beyond 64 bits, and tuples, can be chosen so that a dict takes hours.
    is_small = not isinstance(key, int) or abs(key) < 2**63
    return isinstance(key, str | int | float | np.generic | None) and is_small


def _tuple(fields: Fields, inner: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple(inner(each) for each in fields.take("values", list))


def _state_of(state: np.random.RandomState) -> tuple[Any, ...]:
    given = state.get_state(legacy=False)
    if given["bit_generator"] != "MT19937":
        raise NotPlainError(f"is a RandomState of {given['bit_generator']}")
    key, position = given["state"]["key"].tolist(), int(given["state"]["pos"])
    return key, position, int(given["has_gauss"]), float(given["gauss"])


def _random_state(fields: Fields, inner: Callable[[Any], Any]) -> np.random.RandomState:
    state = np.random.RandomState()
    try:
        key, position, has_gauss, gauss = inner(fields.take("values", list))
        array = np.array(key, np.uint32)
        if len(array) != 624 or not 0 <= position <= 624 or has_gauss not in (0, 1):
            raise ValueError("it has other sizes")
        state.set_state(("MT19937", array, position, has_gauss, float(gauss)))
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{fields.place} is no state of random numbers: {error}") from error
    return state


def _name_in_torch(value: object) -> tuple[str, str] | None:
    """Module and name of a class of torch that a parameter may be; None for all else."""
    if isinstance(value, type):
        for module, (namespace, bases) in _OF_TORCH.items():
            is_public = getattr(namespace, value.__name__, None) is value
            if is_public and issubclass(value, bases):
                return module, value.__name__
    return None


def _of_torch(fields: Fields, _: Any) -> type:
    module, name = fields.one_of("module", _OF_TORCH), fields.text("name")
    namespace, bases = _OF_TORCH[module]
    # From what the module holds already: asking for an attribute could import a module.
    found = vars(namespace).get(name)
    if not isinstance(found, type) or not issubclass(found, bases):
        raise ModelFileError(f"{fields.place} names {name!r:.80}, which torch.{module} has not.")
    return found


_READERS: Mapping[str, Callable[[Fields, Callable[[Any], Any]], Any]] = {
    "float": lambda fields, _: _SPECIAL[fields.one_of("value", _SPECIAL)],
    "tuple": _tuple,
    "dict": _dict,
    "path": lambda fields, _: Path(fields.text("value")),
    "number": _number,
    "array": lambda fields, _: array_of(fields.record("array")),
    "random_state": _random_state,
    "torch": _of_torch,
}

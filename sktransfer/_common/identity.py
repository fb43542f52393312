"""Describe parameters and library versions by strings that are equal in every process."""

import dis
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from sktransfer._common.libraries import is_library_file
from sktransfer._common.tensors import bytes_of
from sktransfer._common.versions import installed_version

# A new version of any of these may compute slightly different results.
_LIBRARIES = (
    *("sktransfer", "torch", "torchvision", "skorch"),
    *("numpy", "scikit-learn", "pillow"),
)
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_VALUES = (*_PLAIN, list, tuple, dict, set, frozenset, torch.Tensor, np.ndarray, np.generic)


@cache
def library_versions() -> str:
    """Return names and versions of the libraries that results depend on."""
    return " ".join(f"{name} {installed_version(name)}" for name in _LIBRARIES)


def stable_repr(
    value: object, _parents: tuple[int, ...] = (), _seen: dict[int, object] | None = None
) -> str:
    """Return a string that describes a parameter by its content.

    Functions are described by their code, arrays by a digest and objects by their state. A
    function or class of the user includes its bases and the globals that it reads. A function
    or class of a library is described by its name.

    `repr` would not do: it shows the address of a function, which differs between processes,
    and only both ends of a long array.

    Parameters
    ----------
    value : object
        Any object.
    """
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in _parents:  # the object contains itself
        return "..."
    parents = (*_parents, id(value))
    # The dict also keeps the values alive: the id of a deleted object may be used again.
    seen: dict[int, object] = {} if _seen is None else _seen

    def all_of(values: Iterable[object]) -> str:
        return ", ".join(stable_repr(item, parents, seen) for item in values)

    if isinstance(value, type | FunctionType):
        # Describing each of them once is enough. Without this, the string would grow
        # exponentially for functions that call each other.
        if id(value) in seen or _is_of_a_library(value):
            return _name(value)
        seen[id(value)] = value
    if isinstance(value, type):
        return f"{_name(value)}[{all_of([value.__bases__, *_members(value)])}]"
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return _digest(value)
    if isinstance(value, FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        return _name(value) + all_of(
            [value.__code__, value.__defaults__, value.__kwdefaults__, cells, _globals(value)]
        )
    if isinstance(value, CodeType):
        # Not co_filename or co_firstlineno: moving a function does not change its results.
        return all_of([value.co_code, value.co_names, value.co_consts])
    if isinstance(value, MethodType):
        return all_of([value.__func__, value.__self__])
    if isinstance(value, BuiltinFunctionType | ModuleType):
        return _name(value)
    if isinstance(value, Mapping):
        return f"{{{all_of(value.items())}}}"
    if isinstance(value, set | frozenset):
        # Sorted, because the order of strings in a set differs between processes.
        return f"set({sorted(stable_repr(item, parents, seen) for item in value)})"
    if isinstance(value, list | tuple) and type(value) in (
        list,
        tuple,
    ):  # a subclass has its own name
        return f"{type(value).__name__}({all_of(value)})"
    return f"{_name(type(value))}({all_of(_state(value))})"


def _members(of: type) -> Iterator[object]:
    """Yield names and values of a class's functions and of the constants that they may read."""
    for name, member in sorted(vars(of).items()):
        if isinstance(member, property):
            yield name, member.fget
        function = getattr(member, "__func__", member)  # of static and class methods
        if isinstance(function, FunctionType):
            yield name, _as_written(function)
        elif not name.startswith("__") and isinstance(member, _VALUES):
            yield name, member


def _as_written(function: Any) -> Any:
    """Remove the wrappers that libraries put around a function.

    A wrapper of the user is kept: its code is part of what the function computes.
    """
    while hasattr(function, "__wrapped__") and is_library_file(function.__code__.co_filename):
        function = function.__wrapped__
    return function


def _globals(function: FunctionType) -> dict[str, object]:
    """Return the globals that a function reads, by name."""
    codes, names = [function.__code__], set()
    # The loop also visits the code of nested functions, which it appends to the list. co_names
    # alone would not do, as it mixes the names of globals with those of attributes.
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        found = dis.get_instructions(code)
        names |= {step.argval for step in found if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    known = function.__globals__
    return {name: known[name] for name in sorted(names) if name in known}


def _is_of_a_library(thing: Any) -> bool:
    """Return True if a class or function comes with Python or an installed library.

    Its name and the version of the library then describe it. Its code would not: torch, for
    example, wraps the methods of an optimizer class when the class is first used.
    """
    # The user's code, even if the file of __main__ is a library's script such as pytest's.
    if thing.__module__ == "__main__":
        return False
    path = getattr(sys.modules.get(thing.__module__), "__file__", None)
    built_in = path is None and thing.__module__ in sys.stdlib_module_names
    return built_in or (path is not None and is_library_file(path))


def _state(value: object) -> Iterable[object]:
    """Return what a pickle of the object would contain."""
    try:
        reduced: Any = value.__reduce_ex__(4)
    except Exception:  # any class may raise anything: the object can't be pickled
        return ()
    if isinstance(reduced, str):  # a name in its module
        # A function under functools.cache pickles by name; its code is in __wrapped__.
        return (reduced, getattr(value, "__wrapped__", None))
    return (*reduced[1:3], *(list(items or ()) for items in reduced[3:5]))


def _digest(array: Any) -> str:
    if isinstance(array, torch.Tensor):
        values = bytes_of(array.to_dense())
    else:
        values = np.ascontiguousarray(array)
        if values.dtype.hasobject:
            return stable_repr(values.tolist())
    return f"{array.dtype} {tuple(array.shape)} {sha256(values.tobytes()).hexdigest()}"


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing.__name__)}"

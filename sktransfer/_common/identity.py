"""What a result depends on, in words that are the same in every process."""

import dis
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

# Those whose next version may compute something else.
_LIBRARIES = (
    *("sktransfer", "torch", "torchvision", "skorch"),
    *("numpy", "scikit-learn", "pillow"),
)
_LIBRARY_FOLDERS = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_VALUES = (*_PLAIN, list, tuple, dict, set, frozenset, torch.Tensor, np.ndarray, np.generic)


@cache
def library_versions() -> str:
    """Names and versions of the libraries that results depend on."""
    return " ".join(f"{name} {_version(name)}" for name in _LIBRARIES)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a folder that is not installed
        return ""


def described(
    value: object, _within: tuple[int, ...] = (), _told: dict[int, object] | None = None
) -> str:
    """A parameter in words: of functions their code, of arrays a digest, of objects their state.

    `repr` gives a function by its place in memory, where another process, or a later function
    of the same one, has another; and of a long array only the ends. What a function or class of
    the user's reads from its module and inherits belongs to it; those of libraries are names.

    Parameters
    ----------
    value : object
        Of any kind.
    """
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in _within:  # it holds itself
        return "..."
    within = (*_within, id(value))
    told: dict[int, object] = {} if _told is None else _told

    def all_of(values: Iterable[object]) -> str:
        return ", ".join(described(item, within, told) for item in values)

    if isinstance(value, type | FunctionType):
        # Once is enough, and functions that call each other would be told without end.
        if id(value) in told or _is_of_a_library(value):
            return _name(value)
        told[id(value)] = value
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
        return all_of([value.co_code, value.co_names, value.co_consts])
    if isinstance(value, MethodType):
        return all_of([value.__func__, value.__self__])
    if isinstance(value, BuiltinFunctionType | ModuleType):
        return _name(value)
    if isinstance(value, Mapping):
        return f"{{{all_of(value.items())}}}"
    if isinstance(value, set | frozenset):
        return f"set({sorted(described(item, within, told) for item in value)})"
    if isinstance(value, list | tuple) and type(value) in (list, tuple):  # else it has a name
        return f"{type(value).__name__}({all_of(value)})"
    return f"{_name(type(value))}({all_of(_state(value))})"


def _members(of: type) -> Iterator[object]:
    """What the body of a class says: functions, and values that they may read."""
    for name, member in sorted(vars(of).items()):
        if isinstance(member, property):
            yield name, member.fget
        function = getattr(member, "__func__", member)  # of static and class methods
        if isinstance(function, FunctionType):
            yield name, _as_written(function)
        elif not name.startswith("__") and isinstance(member, _VALUES):
            yield name, member


def _as_written(function: Any) -> Any:
    """Without what a library has wrapped it in."""
    while hasattr(function, "__wrapped__") and function.__code__.co_filename.startswith(
        _LIBRARY_FOLDERS
    ):
        function = function.__wrapped__
    return function


def _globals(function: FunctionType) -> dict[str, object]:
    """What a function finds in its module, by name."""
    codes, names = [function.__code__], set()
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        found = dis.get_instructions(code)
        names |= {step.argval for step in found if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    known = function.__globals__
    return {name: known[name] for name in sorted(names) if name in known}


def _is_of_a_library(thing: Any) -> bool:
    """Whether a class or function is known by its name and the version of what it came with.

    Classes of torch change while they are used: it wraps the methods of its optimizers.
    """
    if thing.__module__ == "__main__":  # the user's, though a library's script may have begun it
        return False
    path = getattr(sys.modules.get(thing.__module__), "__file__", None)
    built_in = path is None and thing.__module__ in sys.stdlib_module_names
    return built_in or (path is not None and path.startswith(_LIBRARY_FOLDERS))


def _state(value: object) -> Iterable[object]:
    """What a pickle of an object would hold, short of things that iterate."""
    try:
        reduced: Any = value.__reduce_ex__(4)
    except Exception:  # whatever its class raises: it can't be pickled
        return ()
    if isinstance(reduced, str):  # a name in its module
        return (reduced, getattr(value, "__wrapped__", None))  # of a function with a cache
    return (*reduced[1:3], *(list(items or ()) for items in reduced[3:5]))


def _digest(array: Any) -> str:
    if isinstance(array, torch.Tensor):  # as bytes, for NumPy lacks some of torch's types
        values = array.detach().cpu().to_dense().contiguous().flatten().view(torch.uint8).numpy()
    else:
        values = np.ascontiguousarray(array)
        if values.dtype.hasobject:
            return described(values.tolist())
    return f"{array.dtype} {tuple(array.shape)} {sha256(values.tobytes()).hexdigest()}"


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing.__name__)}"

"""Records of the manifest, read field by field, with a check of each value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sktransfer.exceptions import ModelFileError

T = TypeVar("T")


class Budget:
    """Bytes that the arrays of a file may take: strings of a long dtype need few in the file."""

    def __init__(self, n_bytes: int = 2**28) -> None:
        self._left = n_bytes

    def spend(self, n_bytes: int) -> None:
        """Take a part of it; raise if it is used up."""
        self._left -= n_bytes
        if self._left < 0:
            raise ModelFileError("Its arrays take more memory than those of any model file.")


class Fields:
    """A record of the manifest that tells its place in messages.

    Values come from a file that anyone may have written, so each is checked for its type as it is
    taken, and a field that nobody takes is an error.

    Parameters
    ----------
    record : object
        What JSON gave.
    place : str
        Where it stands in the manifest.
    budget : Budget, optional
        That of the whole file.
    """

    def __init__(self, record: Any, place: str, budget: Budget | None = None) -> None:
        if not isinstance(record, dict):
            raise ModelFileError(f"{place} must be a record; got {record!r:.80}.")
        self._left = dict(record)
        self.place = place
        self.budget = Budget() if budget is None else budget

    def take(self, name: str, kind: type[T] | tuple[type[Any], ...]) -> T:
        """The value of a field, which must be of a type."""
        if name not in self._left:
            raise ModelFileError(f"{self.place} lacks {name!r}.")
        value = self._left.pop(name)
        # A bool is an int for Python.
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(value) not in kinds:
            self.refuse(name, value)
        return value

    def peek(self, name: str) -> Any:
        """The value of a field, unchecked and not taken; None if there is none."""
        return self._left.get(name)

    def text(self, name: str) -> str:
        """A string."""
        return self.take(name, str)

    def one_of(self, name: str, allowed: Iterable[T]) -> T:
        """A value among others."""
        value: Any = self.take(name, (str, int, float, bool, type(None)))
        for each in allowed:
            if type(each) is type(value) and each == value:
                return each
        return self.refuse(name, value)

    def whole(self, name: str, low: int = 0, high: int = 2**63 - 1) -> int:
        """An integer from `low` to `high`."""
        value = self.take(name, int)
        return value if low <= value <= high else self.refuse(name, value)

    def number(self, name: str) -> float:
        """A finite number."""
        value: Any = self.take(name, (int, float))
        # An integer may be too large for a float.
        is_number = abs(value) < 1e300 and math.isfinite(value)
        return float(value) if is_number else self.refuse(name, value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Finite numbers."""
        values = self.take(name, list)
        if not all(type(v) in (int, float) and abs(v) < 1e300 for v in values):
            self.refuse(name, values)
        return tuple(map(float, values))

    def wholes(self, name: str, high: int = 2**31) -> tuple[int, ...]:
        """Positive integers."""
        values = self.take(name, list)
        if not all(type(v) is int and 0 < v <= high for v in values):
            self.refuse(name, values)
        return tuple(values)

    def texts(self, name: str) -> tuple[str, ...]:
        """Strings."""
        values = self.take(name, list)
        if not all(type(value) is str for value in values):
            self.refuse(name, values)
        return tuple(values)

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """None, or what `read`, a method of this record, gives."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return read(name)

    def record(self, name: str) -> Fields:
        """A record within this one."""
        return Fields(self.take(name, dict), f"{self.place}.{name}", self.budget)

    def records(self, name: str) -> list[Fields]:
        """A list of records."""
        values: list[Any] = self.take(name, list)
        places = (f"{self.place}.{name}[{i}]" for i in range(len(values)))
        return [Fields(*each, self.budget) for each in zip(values, places, strict=True)]

    def items_left(self) -> Iterator[tuple[str, Any]]:
        """Names and values of all fields that were not taken, whatever they are."""
        left, self._left = self._left, {}
        yield from left.items()

    def end(self) -> None:
        """Raise if there are fields that were not taken."""
        if self._left:
            raise ModelFileError(
                f"{self.place} has unknown fields {sorted(self._left)[:3]!r:.200}."
            )

    def refuse(self, name: str, value: Any) -> Any:
        """Raise for a value that can't be used."""
        raise ModelFileError(f"{self.place}.{name} can't be {value!r:.80}.")

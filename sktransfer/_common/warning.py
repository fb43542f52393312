"""Emit warnings that point at the line of the user's code that called the library."""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from sktransfer._common.libraries import is_library_file

_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"


class Line(NamedTuple):
    """A line of code.

    Parameters
    ----------
    filename : str
    lineno : int
    names : dict
        The globals of its module.
    """

    filename: str
    lineno: int
    names: dict[str, Any]


# The stack of a thread that works for a call does not lead back to the caller, so the line is
# handed over to the thread.
_thread_line = threading.local()
_silent = threading.local()


def warn(message: str, category: type[Warning]) -> None:
    """Emit a warning that points at the user's line, however deep in the library it is emitted.

    Parameters
    ----------
    message : str
    category : type
        A class from `sktransfer.exceptions` or `sklearn.exceptions`.
    """
    if getattr(_silent, "on", False):
        return
    # `warnings.warn` would need a fixed `stacklevel`, and there is none: `fit` may be called by
    # the user, by a pipeline or by a search. Its `skip_file_prefixes` needs Python 3.12.
    line: Line = getattr(_thread_line, "line", None) or users_line()
    # Python's "default" filter uses this dict of the module to show a warning once per line.
    registry = line.names.setdefault("__warningregistry__", {})
    module = line.names.get("__name__", "")
    warnings.warn_explicit(message, category, line.filename, line.lineno, module, registry)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Emit no warnings of this library from this thread, for as long as the block runs.

    `warnings.catch_warnings` would change the filters of all threads, and two threads whose blocks
    overlap would leave them changed.
    """
    before, _silent.on = getattr(_silent, "on", False), True
    try:
        yield
    finally:
        _silent.on = before


def users_line() -> Line:
    """Return the innermost line of the call stack that is outside of libraries.

    In a worker process all frames may belong to libraries; the outermost line is then returned.
    """
    frame: FrameType | None = sys._getframe(1)
    outermost = frame
    while frame is not None and _is_not_the_users(frame.f_code.co_filename):
        outermost, frame = frame, frame.f_back
    found = frame or outermost
    assert found is not None
    return Line(found.f_code.co_filename, found.f_lineno, found.f_globals)


def _is_not_the_users(filename: str) -> bool:
    # scikit-learn may stand between the user and sktransfer: a pipeline, or a search.
    return filename.startswith(_PACKAGE) or is_library_file(filename)


@contextlib.contextmanager
def warning_at(line: Line) -> Iterator[None]:
    """Make warnings of this thread point at `line`, for as long as the block runs."""
    before = getattr(_thread_line, "line", None)
    _thread_line.line = line
    try:
        yield
    finally:
        _thread_line.line = before

"""Warnings that point at the line of the user's code that called the library."""

import contextlib
import os
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

# Frames of these are never the user's: the user called sktransfer, perhaps through scikit-learn.
_LIBRARIES = tuple(
    {
        f"{Path(__file__).parents[1]}{os.sep}",
        *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
        "<frozen",
    }
)


class Line(NamedTuple):
    """A line of code, as `warnings.warn_explicit` wants it."""

    filename: str
    lineno: int
    module: str
    registry: dict[Any, Any]


# Threads that work for a call have frames of their own, which do not lead to the user's line.
_of_thread = threading.local()


def warn(message: str, category: type[Warning]) -> None:
    """Emit a warning that names the user's line, however deep in the library it is found.

    `warnings.warn` counts frames instead (before Python 3.12), which no fixed number fits: a fit
    may be called by the user, by a pipeline, or by a search.

    Parameters
    ----------
    message : str
    category : type
        One of `sktransfer.exceptions`, or scikit-learn's.
    """
    filename, lineno, module, registry = getattr(_of_thread, "line", None) or users_line()
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def users_line() -> Line:
    """The innermost line outside of libraries; in a worker process, where it began to work."""
    frame: FrameType | None = sys._getframe(1)
    outermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        outermost, frame = frame, frame.f_back
    found = frame or outermost
    assert found is not None
    names = found.f_globals
    registry = names.setdefault("__warningregistry__", {})
    return Line(found.f_code.co_filename, found.f_lineno, names.get("__name__", ""), registry)


@contextlib.contextmanager
def warning_at(line: Line) -> Iterator[None]:
    """Let warnings of this thread point at a line that another thread came from."""
    before = getattr(_of_thread, "line", None)
    _of_thread.line = line
    try:
        yield
    finally:
        _of_thread.line = before

"""Emit warnings that point at the line of the user's code that called the library."""

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

# Frames in these places are not the user's: sktransfer itself, installed libraries such as
# scikit-learn, which may call sktransfer, and Python's own modules.
_LIBRARIES = tuple(
    {
        f"{Path(__file__).parents[1]}{os.sep}",
        *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
        "<frozen",
    }
)


class Line(NamedTuple):
    """A line of code, in the form that `warnings.warn_explicit` takes."""

    filename: str
    lineno: int
    module: str
    registry: dict[Any, Any]


# The stack of a thread that works for a call does not lead back to the caller, so the line is
# handed over to the thread.
_thread_line = threading.local()


def warn(message: str, category: type[Warning]) -> None:
    """Emit a warning that points at the user's line, however deep in the library it is emitted.

    Parameters
    ----------
    message : str
    category : type
        A class from `sktransfer.exceptions` or `sklearn.exceptions`.
    """
    # `warnings.warn` would need a fixed `stacklevel`, and there is none: `fit` may be called by
    # the user, by a pipeline or by a search. Its `skip_file_prefixes` needs Python 3.12.
    filename, lineno, module, registry = getattr(_thread_line, "line", None) or users_line()
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def users_line() -> Line:
    """Return the innermost line of the call stack that is outside of libraries.

    In a worker process all frames may belong to libraries; the outermost line is then returned.
    """
    frame: FrameType | None = sys._getframe(1)
    outermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        outermost, frame = frame, frame.f_back
    found = frame or outermost
    assert found is not None
    names = found.f_globals
    # Python's "default" filter uses this dict of the module to show a warning once per line.
    registry = names.setdefault("__warningregistry__", {})
    return Line(found.f_code.co_filename, found.f_lineno, names.get("__name__", ""), registry)


@contextlib.contextmanager
def warning_at(line: Line) -> Iterator[None]:
    """Make warnings of this thread point at `line`, for as long as the block runs."""
    before = getattr(_thread_line, "line", None)
    _thread_line.line = line
    try:
        yield
    finally:
        _thread_line.line = before

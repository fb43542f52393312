"""Short names of pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sktransfer.images.sources import ImageSource


def names_of(sources: Sequence[ImageSource]) -> list[str]:
    """A name for each picture: its path below the folder that holds all, or else its row.

    Parameters
    ----------
    sources : sequence of ImageSource
        X, and X_test if there is one.
    """
    paths = [path for source in sources for _, path in source.paths()]
    try:
        start = len(os.path.commonpath([os.path.dirname(path) for path in paths])) if paths else 0
    except ValueError:  # some are relative to a folder, others are not
        start = 0
    found = []
    for title, source in zip(("X", "X_test"), sources, strict=False):
        of_source = dict(source.paths())
        found += [
            _after(of_source[row], start)
            if row in of_source
            else f"row {_number(source, row)} of {title}"
            for row in range(len(source))
        ]
    return found


def _number(source: ImageSource, row: int) -> int:
    """The row that the user knows: a source may hold some of the user's rows."""
    return row if source.rows is None else int(source.rows[row])


def _after(path: str, start: int) -> str:
    return path[start:].lstrip(os.sep) if start else path

"""What a report consists of: sections of texts, tables, plots and galleries, in no format yet.

Sections make blocks, and each format renders blocks; so no section knows HTML, and no format knows
what a section is about. All texts are plain: a format escapes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Parameters
    ----------
    text : str
    is_warning : bool
        Whether it should catch the eye.
    """

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than its value.

    Parameters
    ----------
    value : str, int, float or None
    link : str
        Key of the part of the report that it leads to.
    shade : float
        Between 0 and 1, how dark the cell is.
    hint : str
        A sentence for those who can't see the table, or who point at the cell.
    """

    value: Any
    link: str = ""
    shade: float = 0.0
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequence
        Cells: text, numbers, None, or Cell. The first cell of a row is its heading.
    caption : str
        What the table shows.
    is_dense : bool
        For matrices: narrow columns.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str
    is_dense: bool = False


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Parameters
    ----------
    svg : str
        Of our own making: no text of the user's is in it unescaped.
    alt : str
        What it shows, for those who can't see it.
    caption : str
    """

    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Picture:
    """One picture of a gallery.

    Parameters
    ----------
    pixels : ndarray of shape (h, w, 3), uint8
    alt : str
    lines : sequence of str
        Below the picture.
    row : int
        Row of the picture in X_test or X_train.
    marked : ndarray of shape (h, w, 3), uint8, or None
        The same picture with marks on it.
    """

    pixels: np.ndarray
    alt: str
    lines: Sequence[str]
    row: int
    marked: np.ndarray | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side.

    Parameters
    ----------
    pictures : sequence of Picture
    title : str
        Heading, or "".
    key : str
        What links lead to, or "".
    note : str
        Such as how many pictures are not shown.
    is_small : bool
        For many pictures.
    """

    pictures: Sequence[Picture]
    title: str = ""
    key: str = ""
    note: str = ""
    is_small: bool = False


@dataclass(frozen=True)
class Blank:
    """Something to be filled in.

    Parameters
    ----------
    name : str
    text : str
        What is filled in so far, or "".
    hint : str
        What belongs here.
    """

    name: str
    text: str
    hint: str


Block = Text | Table | Plot | Gallery | Blank


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Parameters
    ----------
    key : str
        What links lead to.
    title : str
    blocks : list of Block
    """

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """A whole report, in no format yet.

    Parameters
    ----------
    title : str
    facts : sequence of (str, str)
        The figures that come first: a value, and what it is.
    sections : list of Section
    """

    title: str
    facts: Sequence[tuple[str, str]]
    sections: list[Section]

    @property
    def warnings(self) -> list[str]:
        """The texts of all sections that should catch the eye: they stand at the top too."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [block.text for block in blocks if isinstance(block, Text) and block.is_warning]

"""A report as Markdown, without pictures: for a repository, or a model card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sktransfer.inspection.reporting.as_html import as_text
from sktransfer.inspection.reporting.blocks import (
    Blank,
    Block,
    Cell,
    Document,
    Gallery,
    Plot,
    Section,
    Table,
    Text,
)


def as_markdown(document: Document) -> str:
    """The report as Markdown, in which labels and names of files stay plain text."""
    lines = [f"# {_plain(document.title)}", ""]
    lines += [f"- {_plain(what)}: {_plain(value)}" for value, what in document.facts]
    lines += [f"- **Note:** {_plain(text)}" for text in document.warnings]
    for section in document.sections:
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {_plain(section.title)}"
    for block in section.blocks:
        lines = list(_block(block))
        if lines:
            yield from ("", *lines)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text():
            yield f"**Note:** {_plain(block.text)}" if block.is_warning else _plain(block.text)
        case Table():
            yield from (_plain(block.caption), "")
            yield _row(block.columns)
            yield _row(["---"] * len(block.columns), escaped=False)
            yield from map(_row, block.rows)
        case Plot():
            pass  # its points are in a table
        case Gallery():
            if block.title:
                yield from (f"### {_plain(block.title)}", "")
            for picture in block.pictures:
                yield f"- {_plain(picture.alt)}"
            if block.note:
                yield from ("", _plain(block.note))
        case Blank():
            text = block.text or f"({block.hint})"
            yield f"**{_plain(block.name.capitalize())}:** {_plain(text)}"


def _row(cells: Any, *, escaped: bool = True) -> str:
    texts = [as_text(cell.value if isinstance(cell, Cell) else cell) for cell in cells]
    return f"| {' | '.join(map(_plain, texts) if escaped else texts)} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a label may look like a link, or like HTML."""
    one_line = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#&~$!])", r"\\\1", one_line)

"""A report as plain data, for programs: what JSON can hold, without pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sktransfer.inspection.reporting.blocks import (
    Blank,
    Block,
    Cell,
    Document,
    Gallery,
    Plot,
    Table,
    Text,
)


def as_data(document: Document) -> dict[str, Any]:
    """The report as dicts, lists, texts and numbers."""
    return {
        "title": document.title,
        "facts": {what: value for value, what in document.facts},
        "warnings": document.warnings,
        "sections": {
            section.key: {
                "title": section.title,
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in document.sections
        },
    }


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"text": block.text, "is_warning": block.is_warning}
        case Table():
            rows = [[_value(cell) for cell in row] for row in block.rows]
            return {"caption": block.caption, "columns": list(block.columns), "rows": rows}
        case Plot():
            return {"plot": block.caption}
        case Gallery():
            pictures = [{"row": each.row, "lines": list(each.lines)} for each in block.pictures]
            return {"gallery": block.title, "pictures": pictures, "note": block.note}
        case Blank():
            return {"field": block.name, "text": block.text}


def _value(cell: Any) -> Any:
    value = cell.value if isinstance(cell, Cell) else cell
    value = value.item() if isinstance(value, np.generic) else value
    # JSON has no NaN.
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""A report as HTML: a page that needs no other file, or a snippet for another page."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sktransfer.inspection.reporting.blocks import Block, Cell, Document
from sktransfer.inspection.reporting.drawing import with_names

_TEMPLATES = Path(__file__).parent / "templates"
_QUALITY = 78


def as_html(document: Document, prefix: str, *, whole: bool, is_framed: bool = False) -> str:
    """The page, or with ``whole=False`` its content with its style.

    Parameters
    ----------
    document : Document
    prefix : str
        Of all names within the page: two reports in a notebook must not share names.
    whole : bool
    is_framed : bool
        Whether the page is the `srcdoc` of a frame.
    """
    template = _environment().get_template("page.html" if whole else "report.html")
    style = (_TEMPLATES / "style.css").read_text("utf-8")
    return str(template.render(document=document, prefix=prefix, style=style, is_framed=is_framed))


@cache
def _environment() -> Any:
    try:
        import jinja2  # an optional dependency
    except ImportError as error:
        raise ImportError(
            "A report in HTML needs jinja2: pip install 'sktransfer[report]'."
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        # Of all files, whatever their name: labels and names of files come from anywhere.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "data_uri": _data_uri,
        "figure": as_text,
        "is_number": _is_number,
        "kind": _kind,
        "with_names": with_names,
        "cell": lambda value: value if isinstance(value, Cell) else Cell(value),
    }
    return environment


def as_text(value: Any) -> str:
    """A cell as text: three decimals, or "-" for what does not exist."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return f"{float(value):.3f}" if abs(float(value)) < 1000 else f"{float(value):,.0f}"
    return str(value)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | np.number)


def _kind(block: Block) -> str:
    return type(block).__name__


def _data_uri(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    # Without subsampling, thin coloured lines keep their colour.
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"

"""Plots as SVG that take the colours and the typeface of the page around them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

# matplotlib knows no variables of CSS: colours that displays use stand for those of the page.
INK, ACCENT, MUTED, SOFT = "#010203", "#2b6cb0", "#8c8c8c", "#b3b3b3"
_VARIABLES = {
    INK: "currentColor",
    ACCENT: "var(--accent)",
    MUTED: "var(--muted)",
    SOFT: "var(--line)",
}
_FONT_SIZE = 10


def drawn(draw: Callable[[Any], Any], key: str, *, width: float = 5.2, height: float = 3.0) -> str:
    """The SVG element of a plot.

    Parameters
    ----------
    draw : callable
        Draws on given Axes, in the colours of this module.
    key : str
        Names within the SVG begin with it: two plots of a page must not share names.
    width, height : float
        In inches; the page scales the plot to its own width.
    """
    import matplotlib  # an optional dependency
    from matplotlib.figure import Figure  # no pyplot: it would keep the figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    _style(axes)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return with_names(_embedded(file.getvalue()), f"{key}-")


def draw_curve(axes: Any, x: Any, y: Any, low: Any, high: Any) -> None:
    """Draw points with intervals, joined by a line; all arrays have the shape (n,)."""
    axes.errorbar(
        x,
        y,
        yerr=[y - low, high - y],
        fmt="o-",
        color=ACCENT,
        linewidth=1.5,
        markersize=5,
        capsize=2,
    )


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize=_FONT_SIZE, color=SOFT)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=INK, fontsize=_FONT_SIZE)
    if legend := axes.get_legend():
        for text in legend.get_texts():
            text.set(color=INK, fontsize=_FONT_SIZE)


def _embedded(svg: str) -> str:
    """The element alone, without the header of a file, metadata, fonts and a size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The viewBox keeps the proportions.
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return _in_tags(svg, _in_style_of_page)


def _in_style_of_page(tag: str) -> str:
    tag = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, variable)
    return tag


def with_names(svg: str, prefix: str) -> str:
    """The element with other names of its parts: two plots of a page must not share names."""

    def renamed(tag: str) -> str:
        tag = re.sub(r' id="', f' id="{prefix}', tag)
        return re.sub(r"(url\(|href=\")#", rf"\1#{prefix}", tag)

    return _in_tags(svg, renamed)


def _in_tags(svg: str, change: Callable[[str], str]) -> str:
    """Change tags, and not the text between them, which may be the user's."""
    return re.sub(r"<[^>]*>", lambda tag: change(tag[0]), svg)

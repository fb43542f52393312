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
    return _with_own_names(_embedded(file.getvalue()), key)


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
    """The element alone, without the header of a file, metadata and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    # The size in points would not shrink with the page; the viewBox keeps the proportions.
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg


def _with_own_names(svg: str, key: str) -> str:
    svg = re.sub(r' id="', f' id="{key}-', svg)
    return re.sub(r"(url\(|href=\")#", rf"\1#{key}-", svg)

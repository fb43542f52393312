"""Pictures in a grid, with a few lines of text below each."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from sktransfer._common.sklearn_private import check_matplotlib_support
from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.axes import as_it_is

# Colours of text: the usual one, what matters less, what is right and what is wrong.
INK, FAINT, RIGHT, WRONG = "#22303c", "#74808c", "#2f7d5b", "#b3403a"
# How a map is drawn: how dark it is where nothing counts, how pale where nothing was seen, and the
# line around what counts at least half as much as the strongest part.
VEIL, UNSEEN, OUTLINE = 0.45, 0.7, "#ffb000"
# Longer side of a picture in pixels, and of its cell in inches.
SIDE = 224
_CELL, _LINE, _GAP = 1.55, 0.19, 0.24
# Letters that fit below a picture.
_LETTERS = 22


class Line(NamedTuple):
    """A line of text.

    Parameters
    ----------
    text : str
    colour : str
    number : str
        Written at the right end.
    """

    text: str
    colour: str = INK
    number: str = ""


def cells(
    n: int, *, n_lines: int, n_columns: int, caller: str, title: str = "", figure: Any = None
) -> np.ndarray:
    """Empty axes, one for each picture.

    Parameters
    ----------
    n : int
        Number of pictures.
    n_lines : int
        Lines of text below each.
    n_columns : int
    caller : str
        Who needs matplotlib.
    title : str
    figure : matplotlib Figure, optional
        By default a new one.

    Returns
    -------
    axes : ndarray of shape (n_rows, n_columns)
        The last ones may be of no picture.
    """
    check_matplotlib_support(caller)
    import matplotlib.pyplot as plt

    n_rows = -(-n // n_columns)
    if figure is None:
        height = n_rows * (_CELL + n_lines * _LINE + 0.12) + (0.4 if title else 0.05)
        figure = plt.figure(figsize=(n_columns * (_CELL + _GAP), height), layout="constrained")
        # Between the number at the end of one caption and the next caption.
        figure.get_layout_engine().set(w_pad=_GAP / 2)
    if title:
        figure.suptitle(as_it_is(title), x=0.012, ha="left", fontsize="medium", color=INK)
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", anchor="N")
        ax.set_axis_off()
    return axes


def draw(ax: Any, picture: np.ndarray, heat: np.ndarray | None = None) -> None:
    """Draw a picture into the middle of a cell, and a map of the same picture over it."""
    height, width = np.array(picture.shape[:2]) / max(picture.shape[:2])
    left, top = (1 - width) / 2, (1 - height) / 2
    extent = (left, left + width, top + height, top)
    ax.imshow(picture, extent=extent, interpolation="antialiased")
    if heat is not None:
        _draw_heat(ax, heat, extent)
    # imshow takes the limits of its picture.
    ax.set(xlim=(0, 1), ylim=(1, 0))


def _draw_heat(ax: Any, heat: np.ndarray, extent: tuple[float, ...]) -> None:
    """Darken what does not count, leave what does, and outline its half."""
    veil = np.zeros((*heat.shape, 4), dtype=np.float32)
    veil[..., 3] = VEIL * (1 - np.nan_to_num(heat))
    unseen = np.isnan(heat)
    veil[unseen] = (1, 1, 1, UNSEEN)
    ax.imshow(veil, extent=extent, interpolation="bilinear")
    # A picture of a single row or column of pixels has no lines.
    if min(heat.shape) > 1 and np.nanmax(heat, initial=0) > 0.5:
        left, right, bottom, top = extent
        n_rows, n_columns = heat.shape
        x = left + (np.arange(n_columns) + 0.5) / n_columns * (right - left)
        y = top + (np.arange(n_rows) + 0.5) / n_rows * (bottom - top)
        inside = np.ma.masked_invalid(heat)
        ax.contour(x, y, inside, levels=[0.5], colors=[OUTLINE], linewidths=1.1)


def write(ax: Any, lines: Sequence[Line]) -> None:
    """Write lines of text below a picture."""
    for i, line in enumerate(lines):
        room = _LETTERS - len(line.number)
        y = -0.1 - i * _LINE / _CELL
        place = {"transform": ax.transAxes, "va": "baseline", "fontsize": "small"}
        text = as_it_is(shortened(line.text, room))
        ax.text(0, y, text, ha="left", color=line.colour, **place)
        if line.number:
            ax.text(1, y, line.number, ha="right", color=line.colour, **place)


def shortened(text: str, n: int) -> str:
    """Text of at most n letters."""
    text = " ".join(text.split())  # a label may hold line breaks
    return text if len(text) <= n else f"{text[: n - 1]}\N{HORIZONTAL ELLIPSIS}"


def check_counts(**counts: Any) -> None:
    """Raise unless parameters are whole numbers, at least 1.

    Raises
    ------
    ParameterError
    """
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"{name} must be a whole number, at least 1; got {value!r}.")

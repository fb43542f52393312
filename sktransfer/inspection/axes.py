"""Where a Display draws."""

from __future__ import annotations

from typing import Any

from sktransfer._common.sklearn_private import check_matplotlib_support


def axes_or_new(ax: Any, caller: str) -> Any:
    """The matplotlib Axes given, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is missing; names the caller.
    """
    check_matplotlib_support(caller)
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax

"""The matplotlib Axes that displays draw on."""

from __future__ import annotations

from typing import Any

from sktransfer._common.sklearn_private import check_matplotlib_support


def as_it_is(text: Any) -> str:
    r"""Text that matplotlib draws letter by letter.

    "$5-$10" is no mathematics, and half a surrogate pair, as undecodable file names hold, is
    written as its code.
    """
    return str(text).encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def axes_or_new(ax: Any, caller: str) -> Any:
    """Return the given Axes, or those of a new figure.

    Raises
    ------
    ImportError
        If matplotlib is missing. The message names `caller`.
    """
    check_matplotlib_support(caller)
    # Imported here, because matplotlib is an optional dependency.
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax

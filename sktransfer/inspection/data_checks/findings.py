"""A finding about the data, and the kinds of findings that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Most severe first: the order in which findings are shown.
SEVERITIES = ("error", "warning", "note")

# Titles of all kinds, in the order in which those of one severity are shown.
KINDS = {
    "unreadable": "Pictures that can't be read",
    "label_conflict": "Copies with different labels",
    "leakage": "Copies in both X and X_test",
    "single_class": "Only one class",
    "exact_duplicate": "Equal pictures",
    "near_duplicate": "Nearly equal pictures",
    "label_error": "Labels that are probably wrong",
    "blank": "Blank pictures",
    "tiny": "Tiny pictures",
    "extreme_aspect": "Very long or very tall pictures",
    "outlier": "Pictures unlike all others",
    "small_class": "Classes of few pictures",
    "imbalance": "Classes of very different sizes",
    "shortcut": "Facts about files that predict the label",
    "shift": "Facts about files that differ between X and X_test",
}


@dataclass(frozen=True)
class Finding:
    """One thing that may be wrong with the data.

    Parameters
    ----------
    kind : str
        One of the kinds that :func:`check_pictures` lists.
    severity : {"error", "warning", "note"}
        "error" makes a score or a fit wrong, "warning" probably harms it, "note" is good to know.
    message : str
        What was found. Plain text, which may hold names of files and labels.
    advice : str
        What to do about it. Plain text.
    rows : tuple of int
        Rows of X.
    test_rows : tuple of int
        Rows of X_test.
    score : float or None
        A number that the finding rests on, by its kind; see :func:`check_pictures`.
    suggestion : label or None
        The label that is more likely than the one in y.
    """

    kind: str
    severity: str
    message: str
    advice: str
    rows: tuple[int, ...] = ()
    test_rows: tuple[int, ...] = ()
    score: float | None = None
    suggestion: Any = None

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert self.severity in SEVERITIES, self.severity


class NotMade(Exception):  # noqa: N818  # a reason rather than an error
    """A check can't be made; the text says why, and what would make it possible."""


def listed(things: list[str], at_most: int = 4) -> str:
    """Join names for a sentence, and count those that are left out.

    >>> listed(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    if len(things) > at_most:
        return f"{', '.join(things[:at_most])} and {len(things) - at_most} more"
    return " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)

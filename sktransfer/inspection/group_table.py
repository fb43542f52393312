"""The table of metrics by group, and how it is printed."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from sktransfer._common.text_table import aligned

_WIDTH = 96


@dataclass(frozen=True, repr=False)
class GroupMetrics:
    """The table that :func:`group_metrics` returns.

    Parameters
    ----------
    groups : list
        In order; None holds the rows whose group is missing.
    counts : ndarray of shape (n_groups,), int
        Number of rows.
    is_small : ndarray of shape (n_groups,), bool
        Groups with too few rows to be compared.
    metrics : tuple of str
        Such as ``"accuracy"`` and ``"recall (cat)"``.
    values, low, high : ndarray of shape (n_groups, n_metrics)
        The metrics and the bounds of their intervals; NaN where a group has no row that the metric
        is about.
    overall : ndarray of shape (n_metrics,)
        Of all rows.
    difference, ratio : ndarray of shape (n_metrics,)
        The largest difference between two groups, and the smallest value divided by the largest;
        without small groups, and NaN if fewer than two groups remain.
    confidence : float
    frame : fairlearn.metrics.MetricFrame
        The same values for fairlearn's tools. Its groups are the positions in `groups`.
    """

    groups: list[Any]
    counts: np.ndarray
    is_small: np.ndarray
    metrics: tuple[str, ...]
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    overall: np.ndarray
    difference: np.ndarray
    ratio: np.ndarray
    confidence: float
    frame: Any

    @property
    def names(self) -> list[str]:
        """The groups as text; small ones end in a star."""
        texts = ["(missing)" if group is None else str(group) for group in self.groups]
        return [f"{text}*" if few else text for text, few in zip(texts, self.is_small, strict=True)]

    def to_frame(self) -> Any:
        """Make a DataFrame with one row for each metric and group.

        Returns
        -------
        frame : pandas.DataFrame
            With the columns metric, group, rows, value, low, high and is_small.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        import pandas as pd  # type: ignore[import-untyped]  # an optional dependency

        return pd.DataFrame(
            [
                {
                    "metric": metric,
                    "group": group,
                    "rows": self.counts[i],
                    "value": self.values[i, j],
                    "low": self.low[i, j],
                    "high": self.high[i, j],
                    "is_small": self.is_small[i],
                }
                for j, metric in enumerate(self.metrics)
                for i, group in enumerate(self.groups)
            ]
        )

    def __repr__(self) -> str:
        headings = ["", *self.names, "all", "difference", "ratio"]
        counts = ["rows", *map(str, self.counts), str(self.counts.sum()), "", ""]
        lines = [f"Metrics by group, with {self.confidence:.0%} intervals", ""]
        lines += aligned([headings, counts, *map(self._line, range(len(self.metrics)))])
        for note in self.notes():
            lines += ["", *textwrap.wrap(note, _WIDTH)]
        return "\n".join(lines)

    def _line(self, j: int) -> list[str]:
        cells = [
            as_text(value) if np.isnan(value) else f"{value:.3f} [{low:.2f}, {high:.2f}]"
            for value, low, high in zip(
                self.values[:, j], self.low[:, j], self.high[:, j], strict=True
            )
        ]
        compared = (self.overall[j], self.difference[j], self.ratio[j])
        return [self.metrics[j], *cells, *map(as_text, compared)]

    def notes(self) -> list[str]:
        """Sentences that help to read the table."""
        notes = []
        if self.is_small.any():
            notes.append(
                "* Too few rows to be compared: the difference and the ratio leave these groups "
                "out. Collect more pictures of them."
            )
        if np.isnan(self.values).any():
            notes.append("-: the group has no pictures that the metric is about.")
        return notes


def as_text(value: float) -> str:
    """A metric with three decimals; "-" if there is none."""
    return "-" if np.isnan(value) else f"{value:.3f}"

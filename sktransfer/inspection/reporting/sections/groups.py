"""How well the classifier does for each group of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.inspection.displays.group_display import GroupMetricsDisplay
from sktransfer.inspection.group_table import GroupMetrics
from sktransfer.inspection.groups import group_metrics
from sktransfer.inspection.reporting.blocks import Block, Plot, Section, Table, Text
from sktransfer.inspection.reporting.drawing import drawn
from sktransfer.inspection.reporting.material import Material

# With more classes, only the accuracy is given; with more groups, there is no plot.
_MOST_CLASSES, _MOST_GROUPS = 10, 30


def section(material: Material) -> Section | None:
    """A table and a plot of groups; None if none were given."""
    if material.groups is None:
        return None
    few = len(material.labels) <= _MOST_CLASSES
    metrics = ("accuracy", "recall", "false_positive_rate") if few else ("accuracy",)
    y_true, y_pred = (material.texts_of(y) for y in (material.test.y, material.y_pred))
    table = group_metrics(y_true, y_pred, material.groups, metrics)
    blocks: list[Block] = [_comparison(table)]
    if len(table.groups) <= _MOST_GROUPS:
        blocks.append(_plot(table))
    blocks.append(
        Table(
            ["metric", *table.names, "all", "difference", "ratio"],
            [["test pictures", *map(int, table.counts), int(table.counts.sum()), None, None]]
            + [_row(table, j) for j in range(len(table.metrics))],
            "Metrics by group. The difference is that between the largest and the smallest value, "
            "the ratio is the smallest by the largest.",
        )
    )
    return Section("groups", "Groups", [*blocks, *map(Text, table.notes())])


def _row(table: GroupMetrics, j: int) -> list[Any]:
    values = [*table.values[:, j], table.overall[j], table.difference[j], table.ratio[j]]
    return [
        table.metrics[j].replace("_", " "),
        *(None if np.isnan(value) else float(value) for value in values),
    ]


def _comparison(table: GroupMetrics) -> Text:
    large = np.flatnonzero(~table.is_small & ~np.isnan(table.values[:, 0]))
    if len(large) < 2:
        return Text("Fewer than two groups have enough test pictures to be compared.")
    worst = large[table.values[large, 0].argmin()]
    best = large[table.values[large, 0].argmax()]
    apart = table.high[worst, 0] < table.low[best, 0]
    return Text(
        f"The accuracy is lowest for {table.names[worst]} ({table.values[worst, 0]:.3f}) and "
        f"highest for {table.names[best]} ({table.values[best, 0]:.3f}). "
        + (
            "Their intervals do not overlap: find out why before the classifier is used for both."
            if apart
            else "Their intervals overlap."
        ),
        is_warning=bool(apart),
    )


def _plot(table: GroupMetrics) -> Plot:
    height = 1.0 + 0.34 * len(table.groups)
    return Plot(
        drawn(lambda axes: GroupMetricsDisplay(table=table).plot(ax=axes), "groups", height=height),
        "Accuracy of each group with its interval; the table below has the figures.",
        f"Accuracy of each group, with its {table.confidence:.0%} interval (Wilson).",
    )

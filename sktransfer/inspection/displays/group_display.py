"""GroupMetricsDisplay: a metric of each group, as a display in the style of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.axes import axes_or_new
from sktransfer.inspection.group_table import GroupMetrics, as_text
from sktransfer.inspection.groups import group_metrics

_COMPARED, _SMALL = "#2b6cb0", "0.55"
# Heights in inches.
_LINE, _MARGINS = 0.34, 1.0


class GroupMetricsDisplay:
    """A metric of each group, with its interval, beside the metric of all rows.

    Groups with too few rows to be compared are grey, with an empty point and a star.

    Use :meth:`from_predictions` or :meth:`from_estimator` to create one.

    Parameters
    ----------
    table : GroupMetrics
        What :func:`group_metrics` returns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbars_ : dict of matplotlib ErrorbarContainer
        The point and the interval of each group for which the metric is defined.
    line_ : matplotlib Line2D
        The metric of all rows.

    Examples
    --------
    >>> from sktransfer import GroupMetricsDisplay
    >>> display = GroupMetricsDisplay.from_predictions(
    ...     ["cat", "dog"] * 40, ["cat", "dog", "cat", "cat"] * 20, ["indoors", "outdoors"] * 40
    ... )
    >>> list(display.errorbars_)
    ['indoors', 'outdoors']
    """

    def __init__(self, *, table: GroupMetrics) -> None:
        self.table = table

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, groups: Any, *, ax: Any = None, **group_metrics_kw: Any
    ) -> GroupMetricsDisplay:
        """Predict, and plot the first metric.

        Parameters
        ----------
        estimator : classifier
            Fitted; any one of scikit-learn's kind.
        X : array, list, Series or DataFrame
            Pictures, or what the classifier takes.
        y : array-like of shape (n,), or indicator of shape (n, n_classes)
            Labels.
        groups : array-like of shape (n,)
            The group of each row.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **group_metrics_kw
            Parameters of :func:`group_metrics`.

        Returns
        -------
        display : GroupMetricsDisplay
        """
        predictions = estimator.predict(X)
        return cls.from_predictions(y, predictions, groups, ax=ax, **group_metrics_kw)

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_pred: Any, groups: Any, *, ax: Any = None, **group_metrics_kw: Any
    ) -> GroupMetricsDisplay:
        """Plot the first metric of given predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,), or indicators of shape (n, n_classes)
            Labels and predictions.
        groups : array-like of shape (n,)
            The group of each row.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **group_metrics_kw
            Parameters of :func:`group_metrics`.

        Returns
        -------
        display : GroupMetricsDisplay
        """
        return cls(table=group_metrics(y_true, y_pred, groups, **group_metrics_kw)).plot(ax=ax)

    def plot(self, metric: str | None = None, *, ax: Any = None) -> GroupMetricsDisplay:
        """Plot one metric.

        Parameters
        ----------
        metric : str, optional
            One of the table's `metrics`, such as "recall (cat)"; by default the first one.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.

        Returns
        -------
        display : GroupMetricsDisplay

        Raises
        ------
        ParameterError
            If the table has no such metric.
        ImportError
            If matplotlib is missing.
        """
        table = self.table
        metric = table.metrics[0] if metric is None else metric
        if metric not in table.metrics:
            raise ParameterError(
                f"metric={metric!r} is not in the table, which has {', '.join(table.metrics)}."
            )
        j, is_new = table.metrics.index(metric), ax is None
        self.ax_ = axes_or_new(ax, f"{type(self).__name__}.plot")
        self.figure_, self.errorbars_ = self.ax_.figure, {}
        self.line_ = self.ax_.axvline(table.overall[j], color="0.7", linewidth=1, zorder=0)
        for i, group in enumerate(table.groups):
            if not np.isnan(table.values[i, j]):
                self.errorbars_[group] = self._plot_group(i, j)
            self._write_figures(i, j)
        self._label_axes(metric, j)
        if is_new:
            self.figure_.set_figheight(_MARGINS + _LINE * len(table.groups))
        return self

    def _plot_group(self, i: int, j: int) -> Any:
        table = self.table
        value, low, high = (of[i, j] for of in (table.values, table.low, table.high))
        colour = _SMALL if table.is_small[i] else _COMPARED
        return self.ax_.errorbar(
            [value],
            [i],
            # A metric of the user's own may lie outside of its percentiles.
            xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            fmt="o",
            markersize=7,
            capsize=3,
            linewidth=1.8,
            color=colour,
            markerfacecolor="white" if table.is_small[i] else colour,
        )

    def _write_figures(self, i: int, j: int) -> None:
        table = self.table
        self.ax_.text(
            *(1.02, i, f"{as_text(table.values[i, j])}  ({table.counts[i]} rows)"),
            transform=self.ax_.get_yaxis_transform(),
            verticalalignment="center",
            color=_SMALL if table.is_small[i] else _COMPARED,
        )

    def _label_axes(self, metric: str, j: int) -> None:
        ax, table = self.ax_, self.table
        # Names may hold dollar signs, which are no formulas.
        ax.set_yticks(range(len(table.groups)), table.names, parse_math=False)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(table.groups) - 0.5, -0.5)
        overall = f"grey line: all rows, {as_text(table.overall[j])}"
        ax.set_xlabel(
            f"{metric}, with {table.confidence:.0%} interval ({overall})", parse_math=False
        )
        ax.spines[["top", "left", "right"]].set_visible(False)

"""RankingDisplay: accuracy of backbones against their time, in the style of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.axes import as_it_is, axes_or_new
from sktransfer.ranking.table import Ranking

_FRONT, _OTHER = "#2b6cb0", "0.55"
# Heights in inches.
_LINE, _PLOT = 0.22, 3.6


class RankingDisplay:
    """Accuracy of a frozen head against seconds for 1,000 pictures, one point for each backbone.

    A bar shows one standard error of the accuracy to each side. The line joins the Pareto front:
    backbones for which no other one is as fast and more accurate. Those that are tied with the best
    one are filled. Backbones without a time, because their features came from the cache, are
    named below and not drawn.

    Use :meth:`from_ranking` to create one.

    Parameters
    ----------
    ranking : Bunch
        What :func:`rank_backbones` returns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbars_ : dict of matplotlib ErrorbarContainer
        The point and the error bar of each backbone that is drawn.
    front_ : matplotlib Line2D
        The Pareto front, from the fastest backbone to the most accurate.

    Examples
    --------
    >>> from sktransfer import PretrainedFeatureExtractor, RankingDisplay
    >>> from sktransfer import load_clipart, rank_backbones
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> ranking = rank_backbones(paths[::10], labels[::10], [
    ...     PretrainedFeatureExtractor("efficientnet_lite0", image_size=size) for size in (64, 96)
    ... ])
    >>> display = RankingDisplay.from_ranking(ranking)
    >>> len(display.errorbars_)
    2
    """

    def __init__(self, *, ranking: Ranking) -> None:
        self.ranking = ranking

    @classmethod
    def from_ranking(
        cls, ranking: Ranking, *, ax: Any = None, **errorbar_kw: Any
    ) -> RankingDisplay:
        """Plot a ranking.

        Parameters
        ----------
        ranking : Bunch
            What :func:`rank_backbones` returns.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **errorbar_kw
            Keyword arguments of matplotlib's ``errorbar``.

        Returns
        -------
        display : RankingDisplay

        Raises
        ------
        ParameterError
            If it is no ranking, or no backbone in it has a time.
        ImportError
            If matplotlib is missing.
        """
        if not isinstance(ranking, Ranking):
            raise ParameterError(
                "RankingDisplay takes what rank_backbones returns, but got "
                f"{type(ranking).__name__}."
            )
        return cls(ranking=ranking).plot(ax=ax, **errorbar_kw)

    def plot(self, *, ax: Any = None, **errorbar_kw: Any) -> RankingDisplay:
        """Plot one point for each backbone.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **errorbar_kw
            Keyword arguments of matplotlib's ``errorbar``.

        Returns
        -------
        display : RankingDisplay
        """
        ranking = self.ranking
        timed = ~np.isnan(ranking.seconds_per_1000)
        if not timed.any():
            raise ParameterError(
                "No backbone of this ranking has a time, for all features came from the cache. "
                "Rank with cache=None, or with another folder."
            )
        is_new = ax is None
        self.ax_ = axes_or_new(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        self.errorbars_: dict[str, Any] = {}
        drawn = np.flatnonzero(timed).tolist()
        front = _pareto_front(ranking.seconds_per_1000, ranking.accuracy)
        (self.front_,) = self.ax_.plot(
            *(ranking.seconds_per_1000[front], ranking.accuracy[front]),
            color=_FRONT,
            linewidth=1,
            alpha=0.5,
            zorder=1,
        )
        for number, i in enumerate(drawn, start=1):
            self._plot_backbone(i, number, on_front=i in front, errorbar_kw=errorbar_kw)
        self._label_axes([ranking.backbone[i] for i in np.flatnonzero(~timed)])
        if is_new:
            self.figure_.set_figheight(_PLOT + _LINE * len(drawn))
        return self

    def _plot_backbone(self, i: int, number: int, *, on_front: bool, errorbar_kw: Any) -> None:
        """Draw a point with its number, by which the legend names the backbone."""
        ranking, colour = self.ranking, _FRONT if on_front else _OTHER
        at = ranking.seconds_per_1000[i], ranking.accuracy[i]
        style = {
            "fmt": "o",
            "markersize": 7,
            "capsize": 3,
            "color": colour,
            "markerfacecolor": colour if ranking.tied_with_best[i] else "white",
            "label": f"{number}  {as_it_is(ranking.backbone[i])}",
            **errorbar_kw,
        }
        name = ranking.backbone[i]
        self.errorbars_[name] = self.ax_.errorbar(*at, yerr=ranking.accuracy_error[i], **style)
        # Names are too long to stand beside points that lie close together.
        self.ax_.annotate(
            str(number),
            at,
            xytext=(6, 4),
            textcoords="offset points",
            color=colour,
            fontsize="small",
        )

    def _label_axes(self, untimed: list[str]) -> None:
        ax = self.ax_
        ax.set(
            xscale="log", xlabel="seconds for 1,000 pictures", ylabel="accuracy of a frozen head"
        )
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("{x:g}")
        ax.tick_params(axis="x", which="minor", labelsize="x-small")
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        note = "filled: tied with the best; blue: on the Pareto front"
        if untimed:
            note += f"\nnot timed: {as_it_is(', '.join(untimed))}"
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(0, -0.16),
            frameon=False,
            fontsize="small",
            title=note,
            title_fontsize="small",
            alignment="left",
        )


def _pareto_front(seconds: np.ndarray, accuracy: np.ndarray) -> list[int]:
    """Positions of those that are more accurate than all faster ones, from the fastest on."""
    front: list[int] = []
    # Of equally fast ones the most accurate comes first; NaN sorts to the end.
    for i in np.lexsort((-accuracy, seconds)):
        if not np.isnan(seconds[i]) and (not front or accuracy[i] > accuracy[front[-1]]):
            front.append(int(i))
    return front

"""SelectionDisplay: what a fit decided by evidence, as a display in the style of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.axes import as_it_is, axes_or_new

# Parameters of the classifier that are decided by evidence where they are "auto".
_DECIDED = ("resize", "unfreeze_depth")
_CHOSEN, _OTHER = "#2b6cb0", "0.45"
# Heights in inches.
_LINE, _MARGINS = 0.34, 0.9


class SelectionDisplay:
    """The scores of the candidates that a fit has compared, with their errors.

    A point shows the gain of a candidate in cross-validated log-likelihood over the simplest one,
    and its bar one standard error of the gain to each side. The chosen candidate is coloured. For
    `resize` it is the best one, if its bar does not reach the line of no gain, and otherwise
    "crop". For `unfreeze_depth` it is the smallest depth that the best one does not beat by more
    than the standard error of their difference, which is not drawn.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    chosen : dict
        The chosen candidate of each parameter, such as ``{"resize": clf.resize_}``.
    scores : dict of dict
        The evidence of each parameter, such as ``{"resize": clf.resize_scores_}``.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbars_ : dict of dict of matplotlib ErrorbarContainer
        The point and the error bar of each candidate, by parameter and candidate.

    Examples
    --------
    >>> from sktransfer import PretrainedImageClassifier, load_clipart
    >>> from sktransfer.inspection import SelectionDisplay
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier(
    ...     "efficientnet_lite0", image_size=96, resize="auto", random_state=0
    ... ).fit(paths[::6], labels[::6])
    >>> display = SelectionDisplay.from_estimator(classifier)
    >>> list(display.errorbars_["resize"])
    ['crop', 'squash']
    """

    def __init__(
        self, *, chosen: Mapping[str, Any], scores: Mapping[str, Mapping[Any, Mapping[str, float]]]
    ) -> None:
        self.chosen = chosen
        self.scores = scores

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, **errorbar_kw: Any
    ) -> SelectionDisplay:
        """Plot what a fitted classifier has decided.

        Parameters
        ----------
        estimator : PretrainedImageClassifier or Pipeline
            A fitted classifier, or a pipeline whose last step is one.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **errorbar_kw
            Keyword arguments of matplotlib's ``errorbar``.

        Returns
        -------
        display : SelectionDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ParameterError
            If it has decided nothing by evidence, or never does.
        ImportError
            If matplotlib is missing.
        """
        if isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        check_is_fitted(estimator)
        scores = {name: getattr(estimator, f"{name}_scores_", None) for name in _DECIDED}
        decided = {name: values for name, values in scores.items() if values is not None}
        if not decided:
            raise ParameterError(_nothing_decided(estimator))
        chosen = {name: getattr(estimator, f"{name}_") for name in decided}
        return cls(chosen=chosen, scores=decided).plot(ax=ax, **errorbar_kw)

    def plot(self, *, ax: Any = None, **errorbar_kw: Any) -> SelectionDisplay:
        """Plot one line for each candidate.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **errorbar_kw
            Keyword arguments of matplotlib's ``errorbar``.

        Returns
        -------
        display : SelectionDisplay
        """
        is_new = ax is None
        self.ax_ = axes_or_new(ax, f"{type(self).__name__}.plot")
        self.figure_, self.errorbars_ = self.ax_.figure, {}
        labels: list[tuple[str, str]] = []
        for parameter, scores in self.scores.items():
            labels.append((parameter, "black"))
            bars = {}
            for candidate, score in scores.items():
                is_chosen = candidate == self.chosen[parameter]
                bars[candidate] = self._plot_candidate(score, len(labels), is_chosen, errorbar_kw)
                self._plot_figures(score, len(labels), is_chosen, is_simplest=len(bars) == 1)
                labels.append((as_it_is(candidate), _CHOSEN if is_chosen else _OTHER))
            self.errorbars_[parameter] = bars
        self._label_axes(labels)
        if is_new:
            self.figure_.set_figheight(_MARGINS + _LINE * len(labels))
        return self

    def _plot_candidate(
        self, score: Mapping[str, float], y: int, is_chosen: bool, errorbar_kw: Mapping[str, Any]
    ) -> Any:
        colour = _CHOSEN if is_chosen else _OTHER
        style = {
            "fmt": "o",
            "markersize": 7,
            "capsize": 3,
            "linewidth": 1.8,
            "color": colour,
            "markerfacecolor": colour if is_chosen else "white",
            **errorbar_kw,
        }
        if is_chosen:
            self.ax_.axhspan(y - 0.42, y + 0.42, color=colour, alpha=0.08, linewidth=0)
        # The simplest candidate is that which others are compared with: its gain has no error.
        error = [score["gain_error"]] if score["gain_error"] else None
        return self.ax_.errorbar([score["gain"]], [y], xerr=error, **style)

    def _plot_figures(
        self, score: Mapping[str, float], y: int, is_chosen: bool, *, is_simplest: bool
    ) -> None:
        """Write the gain on the right, since a small error bar may hide behind its point."""
        text = f"{score['gain']:+.3f} ± {score['gain_error']:.3f}".replace("-", "\N{MINUS SIGN}")
        self.ax_.text(
            *(1.02, y, ("0 (simplest)" if is_simplest else text) + ", chosen" * is_chosen),
            transform=self.ax_.get_yaxis_transform(),
            verticalalignment="center",
            color=_CHOSEN if is_chosen else _OTHER,
        )

    def _label_axes(self, labels: list[tuple[str, str]]) -> None:
        ax = self.ax_
        ax.axvline(0, color="0.7", linewidth=1, zorder=0)
        ax.set_yticks(range(len(labels)), [text for text, _ in labels])
        for tick, (text, colour) in zip(ax.get_yticklabels(), labels, strict=True):
            tick.set(color=colour, fontweight="bold" if text in self.scores else "normal")
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.margins(x=0.08)
        ax.set_xlabel("gain in cross-validated log-likelihood, ± 1 standard error")
        ax.spines[["top", "left", "right"]].set_visible(False)


def _nothing_decided(estimator: Any) -> str:
    name = type(estimator).__name__
    deciding = [parameter for parameter in _DECIDED if hasattr(estimator, f"{parameter}_scores_")]
    if not deciding:
        return (
            "SelectionDisplay takes a fitted PretrainedImageClassifier, or a Pipeline that ends "
            f"with one, but got {name}. Of a search, give best_estimator_."
        )
    autos = [parameter for parameter in deciding if getattr(estimator, parameter) == "auto"]
    if autos:
        return (
            f"{name} compared nothing, though {autos[0]}='auto': it kept what an earlier fit had, "
            "or had too few rows (resize needs two rows of one class, unfreeze_depth 20 rows). "
            "Fit it anew, on more pictures."
        )
    given = " and ".join(f"{parameter}={getattr(estimator, parameter)!r}" for parameter in deciding)
    remedy = " or ".join(f"{parameter}='auto'" for parameter in deciding)
    return f"{name} decided nothing by evidence: it was fitted with {given}. Fit it with {remedy}."

"""TrainingCurveDisplay: loss and score per epoch, as a display in the style of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from sktransfer.inspection.displays.axes import axes_or_new

_LOSSES = {"train_loss": "training", "valid_loss": "validation"}


class TrainingCurveDisplay:
    """Training loss, validation loss and validation score of each epoch.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    history : list of dict
        One dict per epoch, such as ``history_`` of a :class:`PretrainedImageClassifier`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the losses.
    score_ax_ : matplotlib Axes or None
        Axes of the score, on the right. None without validation data.
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D

    Examples
    --------
    >>> from sktransfer import PretrainedImageClassifier, load_clipart
    >>> from sktransfer.inspection import TrainingCurveDisplay
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier(
    ...     "efficientnet_lite0", hidden_layer_sizes=(32,), max_epochs=3,
    ...     validation_fraction=0.25, random_state=0,
    ... ).fit(paths[::8], labels[::8])
    >>> display = TrainingCurveDisplay.from_estimator(classifier)
    >>> [line.get_label() for line in display.lines_]
    ['training', 'validation', 'score']
    """

    def __init__(self, *, history: Sequence[Mapping[str, Any]]) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, **line_kw: Any
    ) -> TrainingCurveDisplay:
        """Plot the training history of a fitted classifier.

        Parameters
        ----------
        estimator : PretrainedImageClassifier
            A fitted classifier.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **line_kw
            Keyword arguments of matplotlib's ``plot``.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ImportError
            If matplotlib is missing.
        """
        check_is_fitted(estimator)
        return cls(history=estimator.history_).plot(ax=ax, **line_kw)

    def plot(self, *, ax: Any = None, **line_kw: Any) -> TrainingCurveDisplay:
        """Plot the curves, with dotted lines between the phases of training.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **line_kw
            Keyword arguments of matplotlib's ``plot``.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        ax = axes_or_new(ax, f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator

        epochs = range(1, len(self.history) + 1)
        self.ax_, self.figure_, self.lines_ = ax, ax.figure, []
        for key, label in _LOSSES.items():
            # Phases differ in their entries; epochs without this one leave a gap in the curve.
            if any(key in record for record in self.history):
                values = [record.get(key) for record in self.history]
                style = {"marker": ".", "label": label, **line_kw}
                self.lines_ += ax.plot(epochs, values, **style)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.score_ax_ = self._plot_score(epochs, line_kw)
        self._separate_phases()
        # Below the axes, because a legend inside could cover the curves of either y-axis.
        ax.legend(handles=self.lines_, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
        return self

    def _plot_score(self, epochs: range, line_kw: Mapping[str, Any]) -> Any:
        if not any("valid_score" in record for record in self.history):
            return None
        # On a second y-axis: scores are on another scale than losses, and may be negative.
        ax = self.ax_.twinx()
        values = [record.get("valid_score") for record in self.history]
        style = {"marker": ".", "linestyle": "--", "color": "C2", "label": "score", **line_kw}
        self.lines_ += ax.plot(epochs, values, **style)
        ax.set_ylabel("validation score")
        return ax

    def _separate_phases(self) -> None:
        phases = [record["phase"] for record in self.history]
        starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
        for start in starts:
            if start:
                self.ax_.axvline(start + 0.5, color="0.6", linestyle=":", linewidth=1)
            self.ax_.annotate(
                phases[start],
                (start + 0.6, 1.01),
                xycoords=("data", "axes fraction"),
                color="0.4",
                fontsize="small",
            )

"""find_lr: how the loss goes as the learning rate grows, and the rate that suggests."""

from __future__ import annotations

import contextlib
import copy
import warnings
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from skorch.callbacks import Callback

from sktransfer.estimators.conflicts import is_solved
from sktransfer.exceptions import (
    ForgettingWarning,
    InterruptedWarning,
    ParameterError,
    ShortTrainingWarning,
    TrainingDivergedError,
)
from sktransfer.inspection.axes import axes_or_new

# Share of the mean that each new loss is, with fastai's correction of the first ones; and how
# many times its lowest value the mean may reach before the test is over.
_NEW = 0.1
_DIVERGED = 4.0


class LearningRateDisplay:
    """The loss at each learning rate of a range test.

    Made by :func:`find_lr`.

    Parameters
    ----------
    rates : ndarray of shape (n_steps,)
    losses : ndarray of shape (n_steps,)
        Of the training batches, smoothed.

    Attributes
    ----------
    suggestion : float
        A tenth of the rate at which the loss was lowest: there it still falls, and steps of
        ten times the size don't break it.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    """

    def __init__(self, *, rates: np.ndarray, losses: np.ndarray) -> None:
        self.rates = rates
        self.losses = losses
        self.suggestion = float(rates[losses.argmin()] / 10)

    def plot(self, *, ax: Any = None, **line_kw: Any) -> LearningRateDisplay:
        """Draw the loss over the learning rate, and the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        **line_kw
            For matplotlib's ``plot``.

        Returns
        -------
        display : LearningRateDisplay
        """
        ax = axes_or_new(ax, f"{type(self).__name__}.plot")
        (self.line_,) = ax.plot(self.rates, self.losses, **line_kw)
        ax.axvline(self.suggestion, color="0.5", linestyle=":", label=f"{self.suggestion:.1e}")
        ax.set(xscale="log", xlabel="lr", ylabel="training loss, smoothed")
        ax.legend(title="suggestion")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def find_lr(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    lr_min: float = 1e-6,
    lr_max: float = 1.0,
    n_steps: int = 100,
) -> LearningRateDisplay:
    """Train a copy with a learning rate that grows from step to step, and watch the loss.

    What a fit does before its last phase is done as in a fit: where stages train, the head is
    trained first, at the estimator's own `lr`. Stages keep their share of the rate
    (`lr_decay`). Frozen stages run once over the pictures.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
    section 3.3; the suggestion and the smoothing are fastai's.

    Parameters
    ----------
    estimator : PretrainedImageClassifier
        Left as it is.
    X : array, tensor, list, Series or one-column DataFrame
        Pictures, as for its `fit`.
    y : array-like of shape (n,), or indicator of shape (n, n_classes)
    sample_weight : array-like of shape (n,), optional
    lr_min : float, default=1e-6
        Learning rate of the head in the first step.
    lr_max : float, default=1.0
        The same in the last.
    n_steps : int, default=100
        Batches; fewer if the loss rises to four times its lowest, which ends the test.

    Returns
    -------
    display : LearningRateDisplay
        With ``rates``, ``losses``, ``suggestion`` and ``plot()``.

    Raises
    ------
    ParameterError
        If the estimator has no learning rate, because L-BFGS solves its problem; or if its loss
        was out of hand at once.

    Examples
    --------
    >>> from sktransfer import PretrainedImageClassifier, load_clipart
    >>> from sktransfer.inspection import find_lr
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier(
    ...     "efficientnet_lite0", hidden_layer_sizes=(32,), random_state=0
    ... )
    >>> found = find_lr(classifier, paths[::8], labels[::8], n_steps=40)
    >>> 1e-5 < found.suggestion < 1e-1
    True
    """
    if not 0 < lr_min < lr_max < np.inf:
        raise ParameterError(f"find_lr needs 0 < lr_min < lr_max; got {lr_min} and {lr_max}.")
    if not isinstance(n_steps, Integral) or n_steps < 3:
        raise ParameterError(f"find_lr needs a whole n_steps of at least 3; got {n_steps!r}.")
    if is_solved(estimator):
        raise ParameterError(
            "find_lr found nothing to try: L-BFGS solves this problem, and knows no learning "
            "rate. Set optimizer='adamw', or unfreeze_depth=1."
        )
    test = _RangeTest(lr_min, lr_max, n_steps)
    # Without the teacher, which cloning would make forget what it has learned.
    teacher = estimator.distill_from
    copied = clone(copy.copy(estimator).set_params(distill_from=None)).set_params(
        distill_from=teacher,
        callbacks=[test],
        early_stopping=False,
        validation_fraction=None,
        calibrate=None,
        warm_start=False,
        checkpoint_dir=None,
        gradual_unfreezing=False,
        fine_tune="always",  # else there might be no rate to find
    )
    with warnings.catch_warnings(), contextlib.suppress(TrainingDivergedError):
        # It ends in the middle of an epoch, and by rates that are meant to be too high.
        for expected in (InterruptedWarning, ForgettingWarning, ShortTrainingWarning):
            warnings.simplefilter("ignore", expected)
        copied.fit(X, y, sample_weight=sample_weight)
    if len(test.losses) < 3:
        raise ParameterError(
            f"find_lr could take no three steps from lr_min={lr_min:g} before the loss was out of "
            "hand. Give a smaller lr_min, or look after the pictures and labels."
        )
    return LearningRateDisplay(rates=np.array(test.rates), losses=np.array(test.losses))


class _RangeTest(Callback):  # type: ignore[misc]
    """Lets the last phase of a training take some steps, each at a higher rate."""

    def __init__(self, lr_min: float, lr_max: float, n_steps: int) -> None:
        self.grid = np.geomspace(lr_min, lr_max, n_steps).tolist()
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean = 0.0

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        # As many epochs as steps, which have at least one batch each; and rates that nobody
        # else changes, as a schedule for the epochs of a fit would.
        net.max_epochs = len(self.grid)
        net.callbacks_ = [each for each in net.callbacks_ if each[0] != "schedule"]
        rates = [group.get("initial_lr", group["lr"]) for group in net.optimizer_.param_groups]
        self._shares = [rate / rates[-1] for rate in rates]

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            rate = self.grid[len(self.rates)]
            for group, share in zip(net.optimizer_.param_groups, self._shares, strict=True):
                group["lr"] = rate * share

    def on_batch_end(
        self, net: Any, training: bool = False, loss: Any = None, **kwargs: Any
    ) -> None:
        if not training:
            return
        self._mean = (1 - _NEW) * self._mean + _NEW * float(loss)
        self.losses.append(self._mean / (1 - (1 - _NEW) ** (len(self.losses) + 1)))
        self.rates.append(net.optimizer_.param_groups[-1]["lr"])
        over = len(self.losses) == len(self.grid)
        if over or self.losses[-1] > _DIVERGED * min(self.losses):
            raise KeyboardInterrupt  # skorch's way to stop early

"""find_lr and LearningRateDisplay: a learning rate range test."""

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
from sktransfer.inspection.displays.axes import axes_or_new

# The weight of a new loss in the moving average, and the multiple of its lowest value at which
# the average ends the test.
_NEW_LOSS_WEIGHT = 0.1
_DIVERGED = 4.0


class LearningRateDisplay:
    """Loss against learning rate, from a range test.

    Use :func:`find_lr` to create one.

    Parameters
    ----------
    rates : ndarray of shape (n_steps,)
        Learning rate of each step.
    losses : ndarray of shape (n_steps,)
        Smoothed loss of each step's training batch.

    Attributes
    ----------
    suggestion : float
        A tenth of the rate with the lowest loss. At this rate the loss still decreases, and
        there is a margin of ten times before training becomes unstable.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    """

    def __init__(self, *, rates: np.ndarray, losses: np.ndarray) -> None:
        self.rates = rates
        self.losses = losses
        self.suggestion = float(rates[losses.argmin()] / 10)

    def plot(self, *, ax: Any = None, **line_kw: Any) -> LearningRateDisplay:
        """Plot the loss against the learning rate, and mark the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **line_kw
            Keyword arguments of matplotlib's ``plot``.

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
    """Find a learning rate by training a copy while the rate grows from step to step.

    Only the last phase of training is tested; earlier phases run as in `fit`. Where stages are
    unfrozen, the head is therefore trained first, at the estimator's own `lr`. The rates of
    unfrozen stages are scaled by `lr_decay`. Frozen stages run once over the pictures.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
    section 3.3. The suggestion and the smoothing are those of fastai.

    Parameters
    ----------
    estimator : PretrainedImageClassifier
        It is not changed.
    X : array, tensor, list, Series or one-column DataFrame
        Pictures, in any form that `fit` takes.
    y : array-like of shape (n,), or indicator of shape (n, n_classes)
    sample_weight : array-like of shape (n,), optional
    lr_min : float, default=1e-6
        Learning rate of the head in the first step.
    lr_max : float, default=1.0
        Learning rate of the head in the last step.
    n_steps : int, default=100
        Number of batches to train on. The test ends earlier if the loss rises to four times
        its lowest value.

    Returns
    -------
    display : LearningRateDisplay
        With ``rates``, ``losses``, ``suggestion`` and ``plot()``.

    Raises
    ------
    ParameterError
        If the estimator has no learning rate, because L-BFGS solves its problem, or if the loss
        diverges within the first three steps.

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
    if estimator.unfreeze_depth == "auto":
        raise ParameterError(
            "find_lr tests rates at a depth that is known, but unfreeze_depth='auto'. Set "
            "unfreeze_depth=1, or to the unfreeze_depth_ of an earlier fit."
        )
    if is_solved(estimator):
        raise ParameterError(
            "find_lr found nothing to try: L-BFGS solves this problem, and needs no learning "
            "rate. Set optimizer='adamw', or unfreeze_depth=1."
        )
    test = _RangeTest(lr_min, lr_max, n_steps)
    # clone would replace a fitted teacher by an unfitted copy, so the teacher is set afterwards.
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
    )
    with warnings.catch_warnings(), contextlib.suppress(TrainingDivergedError):
        # These are expected: the test ends in the middle of an epoch, and at rates that are too
        # high on purpose.
        for expected in (InterruptedWarning, ForgettingWarning, ShortTrainingWarning):
            warnings.simplefilter("ignore", expected)
        copied.fit(X, y, sample_weight=sample_weight)
    if len(test.losses) < 3:
        raise ParameterError(
            f"find_lr could not take three steps from lr_min={lr_min:g} before the loss diverged. "
            "Set a smaller lr_min, or check the pictures and labels."
        )
    return LearningRateDisplay(rates=np.array(test.rates), losses=np.array(test.losses))


class _RangeTest(Callback):  # type: ignore[misc]
    """Callback that raises the learning rate in each step of the last training phase."""

    def __init__(self, lr_min: float, lr_max: float, n_steps: int) -> None:
        self.grid = np.geomspace(lr_min, lr_max, n_steps).tolist()
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean = 0.0

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        # Each epoch has at least one batch, so this many epochs are enough for all steps.
        net.max_epochs = len(self.grid)
        # The schedule would overwrite the rates of this test.
        net.callbacks_ = [each for each in net.callbacks_ if each[0] != "schedule"]
        # A schedule may have scaled "lr" already; "initial_lr" is the rate before it did. The
        # last group is the head.
        rates = [group.get("initial_lr", group["lr"]) for group in net.optimizer_.param_groups]
        self._factors = [rate / rates[-1] for rate in rates]

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            rate = self.grid[len(self.rates)]
            for group, factor in zip(net.optimizer_.param_groups, self._factors, strict=True):
                group["lr"] = rate * factor

    def on_batch_end(
        self, net: Any, training: bool = False, loss: Any = None, **kwargs: Any
    ) -> None:
        if not training:
            return
        self._mean = (1 - _NEW_LOSS_WEIGHT) * self._mean + _NEW_LOSS_WEIGHT * float(loss)
        # The average starts at 0, so it is divided by the sum of its weights, as in fastai.
        self.losses.append(self._mean / (1 - (1 - _NEW_LOSS_WEIGHT) ** (len(self.losses) + 1)))
        self.rates.append(net.optimizer_.param_groups[-1]["lr"])
        over = len(self.losses) == len(self.grid)
        if over or self.losses[-1] > _DIVERGED * min(self.losses):
            raise KeyboardInterrupt  # skorch's way to stop early

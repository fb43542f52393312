"""find_lr: how the loss goes as the learning rate grows, and the rate that suggests."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from skorch.callbacks import Callback

from sktransfer.exceptions import ParameterError, TrainingDivergedError, TrainingWarning
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

    Stages keep their share of it (`lr_decay`). Frozen stages run once over the pictures.

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
        Batches at most; the test ends when the loss is four times its lowest.

    Returns
    -------
    display : LearningRateDisplay
        With ``rates``, ``losses``, ``suggestion`` and ``plot()``.

    Raises
    ------
    ParameterError
        If the estimator has no learning rate, because L-BFGS solves its problem.

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
    if not 0 < lr_min < lr_max:
        raise ParameterError(f"find_lr needs 0 < lr_min < lr_max; got {lr_min} and {lr_max}.")
    if n_steps < 3:
        raise ParameterError(f"find_lr needs n_steps of at least 3; got {n_steps}.")
    test = _RangeTest(lr_min, lr_max, n_steps)
    # At least one batch an epoch: these are more epochs than steps, and the test ends them.
    copy = clone(estimator).set_params(
        lr=lr_min,
        schedule=None,
        max_epochs=n_steps,
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
        # The last rates are meant to be too high, and the losses show it.
        warnings.filterwarnings("ignore", "Fine-tuning ended", TrainingWarning)
        copy.fit(X, y, sample_weight=sample_weight)
    if len(test.losses) < 3:
        raise ParameterError(
            "find_lr found nothing to try: L-BFGS solves this problem, and knows no learning "
            "rate. Set optimizer='adamw', or unfreeze_depth=1."
        )
    return LearningRateDisplay(rates=np.array(test.rates), losses=np.array(test.losses))


class _RangeTest(Callback):  # type: ignore[misc]
    """Multiplies the learning rates by the same factor before each batch."""

    def __init__(self, lr_min: float, lr_max: float, n_steps: int) -> None:
        self.factor = (lr_max / lr_min) ** (1 / (n_steps - 1))
        self.n_steps = n_steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean = 0.0

    def on_batch_end(
        self, net: Any, training: bool = False, loss: Any = None, **kwargs: Any
    ) -> None:
        groups = net.optimizer_.param_groups
        # L-BFGS sees one batch an epoch that is all rows, and has one group at a rate of 1.
        if not training or net.optimizer_.defaults.get("line_search_fn"):
            return
        self._mean = (1 - _NEW) * self._mean + _NEW * float(loss)
        self.losses.append(self._mean / (1 - (1 - _NEW) ** (len(self.losses) + 1)))
        self.rates.append(groups[-1]["lr"])
        for group in groups:
            group["lr"] *= self.factor

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        over = len(self.losses) >= self.n_steps
        if self.losses and (over or self.losses[-1] > _DIVERGED * min(self.losses)):
            raise KeyboardInterrupt  # skorch's way to stop early

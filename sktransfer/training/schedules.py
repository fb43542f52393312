"""Schedules: how the learning rate changes from step to step, or from epoch to epoch."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from skorch.callbacks import Callback, LRScheduler
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from sktransfer.exceptions import ParameterError

SCHEDULES = ("cosine", "onecycle", "plateau")

# The rate climbs during a tenth of the steps, but for one epoch or 50 steps at most. Adam's first
# steps rest on hardly any statistics; at the full rate they would undo some of what is transferred.
# Where an epoch has one or two steps, a climb of one epoch is too short: narrow hidden heads on
# some 50 rows then learn less, with early stopping too.
# During a climb over many long epochs the loss would hardly change, and early stopping would stop.
_WARM_UP = 0.1
_WARM_UP_STEPS = 50
# Epochs without a lower loss after which "plateau" divides the rate by ten: fewer than
# the 5 of early stopping, which would otherwise stop first.
_PATIENCE = 2


def schedule_callback(
    schedule: str | Callable[..., Any] | None,
    *,
    n_steps: int,
    n_epoch: int,
    rates: Sequence[float],
    monitor: str,
) -> Callback | None:
    """The skorch callback that changes the learning rates; None for no schedule.

    Parameters
    ----------
    schedule : str, callable or None
        One of `SCHEDULES`, or a class of `torch.optim.lr_scheduler` that takes an optimizer
        alone and is stepped once per epoch.
    n_steps : int
        Number of batches in all epochs.
    n_epoch : int
        Number of batches in one epoch.
    rates : sequence of float
        Learning rate of each parameter group.
    monitor : str
        The loss that "plateau" and torch's ReduceLROnPlateau watch, "train_loss" or "valid_loss".

    Raises
    ------
    ParameterError
        If a class is not one of schedules.
    """
    if schedule is None:
        return None
    if schedule == "cosine":
        factor = partial(warm_cosine, n_steps=n_steps, n_epoch=n_epoch)
        return LRScheduler(LambdaLR, lr_lambda=factor, step_every="batch")
    if schedule == "onecycle":
        return LRScheduler(
            OneCycleLR,
            max_lr=list(rates),
            # skorch steps once more, after the last batch.
            total_steps=n_steps + 1,
            cycle_momentum=False,
            step_every="batch",
        )
    kind, options = schedule, {}
    if isinstance(schedule, partial):
        kind, options = schedule.func, schedule.keywords
    if kind in ("plateau", ReduceLROnPlateau):
        options = {"patience": _PATIENCE, **options}
        return LRScheduler(ReduceLROnPlateau, monitor=monitor, **options)
    assert not isinstance(schedule, str)
    if "last_epoch" not in inspect.signature(schedule).parameters:
        raise ParameterError(
            f"schedule={schedule!r} can't be used: it must be a name from {list(SCHEDULES)} or a "
            "class of torch.optim.lr_scheduler, its other arguments given by functools.partial."
        )
    return LRScheduler(schedule)


def warm_cosine(step: int, n_steps: int, n_epoch: int) -> float:
    """Factor of the learning rate: a linear climb to 1, then half a cosine down to 0.

    Source: Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    ICLR 2017, eq. 5, with one period.
    """
    warm_up = max(1, min(round(_WARM_UP * n_steps), max(n_epoch, _WARM_UP_STEPS)))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, n_steps - warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

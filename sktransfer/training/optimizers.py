"""Optimizers, learning rates by stage, and their schedule."""

import math
from functools import partial
from typing import Any

import torch
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import LambdaLR

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": torch.optim.AdamW},
    "adam": {"optimizer": torch.optim.Adam},
    "sgd": {
        "optimizer": torch.optim.SGD,
        "optimizer__momentum": 0.9,
        "optimizer__nesterov": True,
    },
}
SCHEDULES = ("cosine",)

# A tenth of the steps climbs to the learning rate: Adam's first steps, taken on hardly
# any statistics, would otherwise undo some of what is being transferred.
_WARM_UP = 0.1


def learning_rates(
    stage_names: list[str], lr: float, lr_decay: float
) -> list[tuple[str, dict[str, float]]]:
    """Skorch's parameter groups: each stage learns `lr_decay` times as fast as the next.

    Parameters
    ----------
    stage_names : list of str
        From the first trainable stage to the last; the head learns at `lr` itself.
    """
    deepest = len(stage_names)
    return [
        (f"stages.{name}.*", {"lr": lr * lr_decay ** (deepest - i)})
        for i, name in enumerate(stage_names)
    ]


def schedule_callbacks(schedule: str | None, n_steps: int) -> list[tuple[str, Any]]:
    """Skorch callbacks that change the learning rate over `n_steps` batches."""
    if schedule is None:
        return []
    factor = partial(warm_cosine, n_steps=n_steps)
    return [("schedule", LRScheduler(LambdaLR, lr_lambda=factor, step_every="batch"))]


def warm_cosine(step: int, n_steps: int) -> float:
    """Factor of the learning rate: a linear climb to 1, then half a cosine down to 0.

    Source: Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    ICLR 2017, eq. 5, with one period.
    """
    warm_up = max(1, round(_WARM_UP * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, n_steps - warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

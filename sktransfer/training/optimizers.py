"""Optimizers, and learning rates by stage."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sktransfer.exceptions import ParameterError

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": torch.optim.AdamW},
    "adam": {"optimizer": torch.optim.Adam},
    "sgd": {
        "optimizer": torch.optim.SGD,
        "optimizer__momentum": 0.9,
        "optimizer__nesterov": True,
    },
}


def optimizer_options(optimizer: str | Callable[..., Any], weight_decay: float) -> dict[str, Any]:
    """Skorch's options for an optimizer by name, or for a class of torch's kind.

    Raises
    ------
    ParameterError
        If a class has no learning rate, or no weight decay where some is asked for, or searches
        for its step.
    """
    if isinstance(optimizer, str):
        known = OPTIMIZERS["adamw" if optimizer == "auto" else optimizer]
        return {**known, "optimizer__weight_decay": weight_decay}
    if "lr" not in inspect.signature(optimizer).parameters:
        raise ParameterError(
            f"optimizer={optimizer!r} can't be used: it must be a name from {list(OPTIMIZERS)} or "
            "a class of torch.optim's kind, with a learning rate lr."
        )
    if _searches(optimizer):
        raise ParameterError(
            f"optimizer={optimizer!r} can't be used: it computes the loss several times a step, "
            "which would be of other dropout and other mixing each time. Use optimizer='lbfgs', "
            f"which is for the convex problem, or a name from {list(OPTIMIZERS)}."
        )
    if "weight_decay" in inspect.signature(optimizer).parameters:
        return {"optimizer": optimizer, "optimizer__weight_decay": weight_decay}
    if weight_decay:
        raise ParameterError(
            f"optimizer={optimizer!r} takes no weight_decay, but weight_decay={weight_decay}. "
            "Use weight_decay=0, or another optimizer."
        )
    return {"optimizer": optimizer}


def learning_rates(
    depths: Mapping[str, int], lr: float, lr_decay: float
) -> list[tuple[str, dict[str, float]]]:
    """Skorch's parameter groups: each stage learns `lr_decay` times as fast as the next.

    Parameters
    ----------
    depths : mapping of str to int
        How deep each trainable stage lies, from 1 for the one before the head, which
        learns at `lr` itself.
    """
    return [(f"stages.{name}.*", {"lr": lr * lr_decay**depth}) for name, depth in depths.items()]


def state_on_cpu(state: Mapping[int, Any]) -> dict[int, Any]:
    """What an optimizer knows, where a pickle of it opens on every machine.

    An optimizer that takes it up again moves it to its parameters.
    """
    return {
        number: {name: v.cpu() if isinstance(v, Tensor) else v for name, v in known.items()}
        for number, known in state.items()
    }


def _searches(optimizer: Callable[..., Any]) -> bool:
    """Whether a step can't do without a way to compute the loss, as those of L-BFGS can't."""
    kind = optimizer.func if isinstance(optimizer, partial) else optimizer
    step = getattr(kind, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if callable(step) else None
    return closure is not None and closure.default is inspect.Parameter.empty

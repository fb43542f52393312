"""Optimizers by name or class, and the learning rate of each stage."""

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
    """Options of a skorch net for an optimizer by name, or for a class of torch's kind.

    Raises
    ------
    ParameterError
        If a class takes no learning rate, or no weight decay although one is given, or evaluates
        the loss several times per step.
    """
    if isinstance(optimizer, str):
        # Where "auto" means L-BFGS, the head is solved without these options.
        known = OPTIMIZERS["adamw" if optimizer == "auto" else optimizer]
        return {**known, "optimizer__weight_decay": weight_decay}
    if "lr" not in inspect.signature(optimizer).parameters:
        raise ParameterError(
            f"optimizer={optimizer!r} can't be used: it must be a name from {list(OPTIMIZERS)} or "
            "a class of torch.optim's kind, with a learning rate lr."
        )
    if _searches(optimizer):
        raise ParameterError(
            f"optimizer={optimizer!r} can't be used: it computes the loss several times per step, "
            "each time with another dropout and another mixing. Use optimizer='lbfgs', "
            f"which is for a linear head on frozen stages, or a name from {list(OPTIMIZERS)}."
        )
    if "weight_decay" in inspect.signature(optimizer).parameters:
        return {"optimizer": optimizer, "optimizer__weight_decay": weight_decay}
    if weight_decay:  # a parameter that is accepted must not be ignored
        raise ParameterError(
            f"optimizer={optimizer!r} takes no weight_decay, but weight_decay={weight_decay}. "
            "Use weight_decay=0, or another optimizer."
        )
    return {"optimizer": optimizer}


def learning_rates(
    depths: Mapping[str, int], lr: float, lr_decay: float
) -> list[tuple[str, dict[str, float]]]:
    """Parameter groups of a skorch net: each stage learns `lr_decay` times as fast as the next.

    Parameters
    ----------
    depths : mapping of str to int
        Depth of each trainable stage, from 1 for the one before the head.
    lr : float
        Learning rate of the head.
    lr_decay : float
    """
    # skorch puts parameters that match no pattern, those of the head, into a last group at `lr`.
    return [(f"stages.{name}.*", {"lr": lr * lr_decay**depth}) for name, depth in depths.items()]


def state_on_cpu(state: Mapping[int, Any]) -> dict[int, Any]:
    """The state of an optimizer on the CPU, so that a pickle of it opens on every machine.

    An optimizer that loads it moves it to the device of its parameters.
    """
    return {
        number: {name: v.cpu() if isinstance(v, Tensor) else v for name, v in values.items()}
        for number, values in state.items()
    }


def _searches(optimizer: Callable[..., Any]) -> bool:
    """Return True if a step needs a function that computes the loss, as that of L-BFGS does."""
    kind = optimizer.func if isinstance(optimizer, partial) else optimizer
    step = getattr(kind, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if callable(step) else None
    return closure is not None and closure.default is inspect.Parameter.empty

"""Networks on the meta device: names, shapes and structure without values."""

import copy
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class ParametersOnMeta(TorchFunctionMode):
    """A context in which networks are built without memory or values.

    ``torch.device("meta")`` does the same but also catches the arithmetic by which
    RegNet computes its widths, which then has no values to compute with.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def without_values(network: nn.Module) -> nn.Module:
    """A copy on the meta device: other threads may be running the shared network."""
    parameters = {id(p): nn.Parameter(p.to("meta"), False) for p in network.parameters()}
    buffers = {id(b): b.to("meta") for b in network.buffers()}
    return copy.deepcopy(network, {**parameters, **buffers})

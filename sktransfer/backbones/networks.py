"""Build the whole network of a backbone, without weights or with random ones."""

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sktransfer._common.random import seeded
from sktransfer.backbones.names import source_of


def build_empty(name: str, num_classes: int = 1000, image_size: int | None = None) -> nn.Module:
    """The network `name` on the meta device: shapes and names, no values.

    `image_size` matters only to networks that are built for one size (vision transformers).
    """
    with _ParametersOnMeta():
        return source_of(name).build(name, num_classes, image_size).eval()


def build_random(name: str, seed: int) -> nn.Module:
    """The network `name` with random weights, always the same for the same seed."""
    # torch draws weights from its global generator, which others in the process rely on.
    with seeded(seed):
        return source_of(name).build(name, num_classes=1000, image_size=None).eval()


class _ParametersOnMeta(TorchFunctionMode):
    """Create parameters and buffers without memory or values.

    ``torch.device("meta")`` does the same but also catches the arithmetic by which
    RegNet computes its widths, which then has no values to compute with.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)

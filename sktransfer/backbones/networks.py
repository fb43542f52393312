"""Build a whole network by name: torchvision's, or our EfficientNet-Lite0."""

import difflib
import warnings
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from sktransfer._common.random import seeded
from sktransfer.backbones.lite0 import EfficientNetLite0
from sktransfer.exceptions import BackboneError

# Networks whose builders create the weights they were not given in a slow or noisy
# way unless told otherwise, and auxiliary heads that only serve training from scratch.
_BUILDER_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


@cache
def backbone_names() -> tuple[str, ...]:
    """Every torchvision classification network, and EfficientNet-Lite0."""
    return tuple(sorted([*models.list_models(module=models), "efficientnet_lite0"]))


def check_backbone_name(name: str) -> None:
    """Raise a `BackboneError` with the nearest names unless `name` is a backbone."""
    if name in backbone_names():
        return
    near = difflib.get_close_matches(str(name), backbone_names(), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise BackboneError(
        f"backbone={name!r} is not a known backbone.{hint} list_backbones() names all "
        f"{len(backbone_names())}."
    )


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


def build_empty(name: str, num_classes: int = 1000, image_size: int | None = None) -> nn.Module:
    """The network `name` on the meta device: shapes and names, no values.

    `image_size` matters only to networks built for one size (vision transformers).
    """
    with _ParametersOnMeta():
        return _build(name, num_classes, image_size)


def build_random(name: str, seed: int) -> nn.Module:
    """The network `name` with random weights, always the same for the same seed."""
    with seeded(seed):
        return _build(name, num_classes=1000, image_size=None)


def _build(name: str, num_classes: int, image_size: int | None) -> nn.Module:
    if name == "efficientnet_lite0":
        return EfficientNetLite0(num_classes).eval()
    options = dict(_BUILDER_OPTIONS.get(name, {}))
    if name.startswith("vit_") and image_size is not None:
        options["image_size"] = image_size
    with warnings.catch_warnings():
        # torch warns that initialising parameters of no size does nothing: it is meant.
        warnings.filterwarnings("ignore", "Initializing zero-element tensors", UserWarning)
        network: nn.Module = models.get_model(
            name, weights=None, num_classes=num_classes, **options
        )
    return network.eval()

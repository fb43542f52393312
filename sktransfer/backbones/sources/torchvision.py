"""All classification networks of torchvision."""

import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision import models

from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.sources.download import cached_file, download
from sktransfer.backbones.sources.filling import filled_by_names
from sktransfer.backbones.stages import CutNetwork, cut
from sktransfer.images.preprocessing import Preprocessing

# Left alone, these builders add auxiliary heads, which only serve training from scratch, warn,
# and draw truncated normal weights: 9 s for Inception v3 instead of 0.4 s.
_BUILDER_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}
# The published files hold those heads all the same.
_AUXILIARY = re.compile(r"^(AuxLogits|aux1|aux2)\.")
# DenseNet's published files are older than torch's rule that module names have no dots.
_DOTTED_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


class Torchvision:
    """Networks by the names of ``torchvision.models``, with its published weights."""

    is_listed, builds_for_a_size = True, False

    def names(self) -> tuple[str, ...]:
        return _names()

    def has(self, name: str) -> bool:
        return name in _names()

    def known_sizes(self, name: str) -> None:
        return None

    def published_weights(self, name: str) -> Mapping[str, Weights]:
        return _published_weights(name)

    def preprocessing(self, name: str) -> Preprocessing:
        """Preset of the first published weights, not of the default ones.

        Files found elsewhere are mostly copies of V1, or were trained with its preset.
        """
        return _preprocessing(next(iter(models.get_model_weights(name))))

    def at_hand(self, weights: Weights) -> bool:
        return cached_file(weights).is_file()

    def fetch(self, name: str, weights: Weights) -> Path:
        return download(name, weights)

    def filled(
        self, name: str, weights: Weights, state: Mapping[str, Tensor]
    ) -> tuple[nn.Module, bool]:
        size, renamed = weights.preprocessing.crop_size, self.renamed(name, state)
        return filled_by_names(name, lambda n: self.build(name, n, size), weights, renamed)

    def renamed(self, name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of a published file under the names of today's networks."""
        renamed = OrderedDict(
            (_DOTTED_DENSE_LAYER.sub(r"\1\2", key), value)
            for key, value in state.items()
            if not _AUXILIARY.match(key)
        )
        if hasattr(state, "_metadata"):  # torch keeps the version of each module's format here
            renamed._metadata = state._metadata  # type: ignore[attr-defined]
        return renamed

    def build(self, name: str, num_classes: int, image_size: int | None) -> nn.Module:
        options = dict(_BUILDER_OPTIONS.get(name, {}))
        if name.startswith("vit_") and image_size is not None:
            options["image_size"] = image_size  # position embeddings are made for one size
        with warnings.catch_warnings():
            # torch warns that initialising parameters of no size does nothing: it is meant.
            warnings.filterwarnings("ignore", "Initializing zero-element tensors", UserWarning)
            return models.get_model(name, weights=None, num_classes=num_classes, **options)

    def cut(self, name: str, network: nn.Module, weights: Weights) -> CutNetwork:
        if isinstance(network, models.GoogLeNet | models.Inception3):
            # Their weights come from TensorFlow and expect pixels from -1 to 1. torchvision's
            # builders switch this on along with the weights, which are not loaded by them here.
            network.transform_input = not weights.is_random
        return cut(network)


@cache
def _names() -> tuple[str, ...]:
    return tuple(models.list_models(module=models))


@cache
def _published_weights(name: str) -> Mapping[str, Weights]:
    enum = models.get_model_weights(name)
    entries = [enum.DEFAULT, *(entry for entry in enum if entry is not enum.DEFAULT)]
    return {entry.name: _weights(entry) for entry in entries}


def _weights(entry: Any) -> Weights:
    metrics = entry.meta.get("_metrics", {}).get("ImageNet-1K", {})
    return Weights(
        entry.name,
        _preprocessing(entry),
        accuracy=float(metrics.get("acc@1", "nan")),
        origin=entry.url,
        aliases=(f"{type(entry).__name__}.{entry.name}",),  # "ResNet18_Weights.IMAGENET1K_V1"
        license=entry.meta.get("license", "BSD-3-Clause"),  # torchvision's own, unless it names one
    )


def _preprocessing(entry: Any) -> Preprocessing:
    preset = entry.transforms()
    return Preprocessing(
        resize_size=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )

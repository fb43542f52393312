"""Cut a network into its ordered, named stages, family by family.

A stage is a level of resolution, as the papers' tables count them, so that a depth
means the same in every family; a vision transformer, of one resolution, counts its
encoder blocks. Every stage outputs a map (n, c, h, w), tokens (n, length, c) with the
class token first, or a vector (n, c). Dropout right before the last Linear belongs to
the head that is replaced, so it is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.ops import Permute

from sktransfer.images.preprocessing import of_channels

NamedModules = Sequence[tuple[str, nn.Module]]


@dataclass(frozen=True)
class CutNetwork:
    """A network in pieces.

    Parameters
    ----------
    maps : list of (str, Module)
        The stages up to the last one that outputs a map or tokens.
    neck : list of (str, Module)
        The stages from the network's own pooling to the input of its last Linear.
    classifier : Module
        From the output of the last stage to class scores.
    pooling : Module
        The network's own reduction of a map to a feature vector.
    reads_map : bool
        True where the classifier works on the last map, before the neck (SqueezeNet).
    has_class_token : bool
        If the last stage of `maps` outputs tokens of which the first is for the whole picture.
    n_prefix : int or None
        Number of tokens before those of positions; None where only their number tells.
    code : str
        Identity of the code of a network that is not of a library: stored activations of other
        code are not used.
    """

    maps: NamedModules
    neck: NamedModules
    classifier: nn.Module
    pooling: nn.Module
    reads_map: bool = False
    has_class_token: bool = False
    n_prefix: int | None = None
    code: str = ""


class ClassToken(nn.Module):
    """Tokens (n, length, c) -> the class token (n, c)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class PatchTokens(nn.Module):
    """The first part of torchvision's VisionTransformer, from a picture to tokens."""

    def __init__(self, network: models.VisionTransformer) -> None:
        super().__init__()
        self.conv_proj = network.conv_proj
        self.class_token = network.class_token
        self.pos_embedding = network.encoder.pos_embedding
        self.dropout = network.encoder.dropout

    def forward(self, x: Tensor) -> Tensor:
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        token = self.class_token.expand(x.shape[0], -1, -1)
        return self.dropout(torch.cat([token, patches], dim=1) + self.pos_embedding)


class InceptionInput(nn.Module):
    """From ImageNet's mean and std to the -1..1 that Inception's weights were trained on."""

    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        mean = torch.tensor(of_channels([0.485, 0.456, 0.406], channels))
        std = torch.tensor(of_channels([0.229, 0.224, 0.225], channels))
        self.register_buffer("scale", (std / 0.5)[:, None, None], persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def cut(network: nn.Module) -> CutNetwork:
    """Cut `network` into stages; running them all equals its own forward."""
    for family, cut_family in _FAMILIES.items():
        if isinstance(network, family):
            return cut_family(network)
    raise TypeError(f"No rule for cutting a {type(network).__name__} into stages.")


def _seq(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


def _pooled(*after: nn.Module) -> nn.Sequential:
    return _seq(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), *after)


def _plain(maps: NamedModules, classifier: nn.Module) -> CutNetwork:
    """The most common shape: maps, then their average, then one Linear."""
    return CutNetwork(maps, [("neck", _pooled())], classifier, _pooled())


def _by_resolution(modules: Iterable[nn.Module], prefix: str = "level") -> NamedModules:
    """Group consecutive modules; each that halves the resolution starts a new group."""
    groups: list[list[nn.Module]] = []
    for module in modules:
        if not groups or _downsamples(module):
            groups.append([])
        groups[-1].append(module)
    return [(f"{prefix}{i}", _seq(*group)) for i, group in enumerate(groups, start=1)]


def _downsamples(module: nn.Module) -> bool:
    windows = (nn.Conv2d, nn.MaxPool2d)
    return any(m.stride not in (1, (1, 1)) for m in module.modules() if isinstance(m, windows))


def _resnet(net: models.ResNet) -> CutNetwork:
    stem = _seq(net.conv1, net.bn1, net.relu, net.maxpool)
    layers = [(f"layer{i}", getattr(net, f"layer{i}")) for i in range(1, 5)]
    return _plain([("stem", stem), *layers], net.fc)


def _regnet(net: models.RegNet) -> CutNetwork:
    blocks = list(net.trunk_output.named_children())
    return _plain([("stem", net.stem), *blocks], net.fc)


def cut_features(net: Any) -> CutNetwork:
    """MobileNetV2, EfficientNet and its V2 and Lite variants."""
    return _plain(_by_resolution(net.features), net.classifier[-1])


def _mobilenet_v3(net: models.MobileNetV3) -> CutNetwork:
    fc = _seq(*net.classifier[:-2])  # without the dropout before the last Linear
    neck: NamedModules = [("neck", _pooled()), ("fc", fc)]
    return CutNetwork(_by_resolution(net.features), neck, net.classifier[-1], _pooled())


def _mnasnet(net: models.MNASNet) -> CutNetwork:
    return _plain(_by_resolution(net.layers), net.classifier[-1])


def _shufflenet(net: models.ShuffleNetV2) -> CutNetwork:
    stem = _seq(net.conv1, net.maxpool)
    last = _seq(net.stage4, net.conv5)  # the same resolution: one level
    stages = [("stem", stem), ("stage2", net.stage2), ("stage3", net.stage3), ("stage4", last)]
    return _plain(stages, net.fc)


def _squeezenet(net: models.SqueezeNet) -> CutNetwork:
    maps = _by_resolution(net.features)
    classifier = _seq(*net.classifier, nn.Flatten(1))
    return CutNetwork(maps, [("neck", _pooled())], classifier, _pooled(), reads_map=True)


def _densenet(net: models.DenseNet) -> CutNetwork:
    parts = net.features
    stem = _seq(parts.conv0, parts.norm0, parts.relu0, parts.pool0)
    # torchvision applies the last ReLU as a function: the network has no module of it.
    blocks = [
        ("denseblock1", parts.denseblock1),
        ("denseblock2", _seq(parts.transition1, parts.denseblock2)),
        ("denseblock3", _seq(parts.transition2, parts.denseblock3)),
        ("denseblock4", _seq(parts.transition3, parts.denseblock4, parts.norm5, nn.ReLU())),
    ]
    return _plain([("stem", stem), *blocks], net.classifier)


def _googlenet(net: models.GoogLeNet) -> CutNetwork:
    stem = _seq(net.conv1, net.maxpool1, net.conv2, net.conv3, net.maxpool2)
    if net.transform_input:
        stem.insert(0, InceptionInput(net.conv1.conv.in_channels))
    fourth = [getattr(net, f"inception4{letter}") for letter in "abcde"]
    stages = [
        ("stem", stem),
        ("inception3", _seq(net.inception3a, net.inception3b)),
        ("inception4", _seq(net.maxpool3, *fourth)),
        ("inception5", _seq(net.maxpool4, net.inception5a, net.inception5b)),
    ]
    return _plain(stages, net.fc)


def _inception(net: models.Inception3) -> CutNetwork:
    stem = _seq(
        *(net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, net.maxpool1),
        *(net.Conv2d_3b_1x1, net.Conv2d_4a_3x3, net.maxpool2),
    )
    if net.transform_input:
        stem.insert(0, InceptionInput(net.Conv2d_1a_3x3.conv.in_channels))
    letters = {5: "bcd", 6: "abcde", 7: "abc"}
    mixed = [
        (f"mixed{n}", _seq(*(getattr(net, f"Mixed_{n}{letter}") for letter in letters[n])))
        for n in letters
    ]
    return _plain([("stem", stem), *mixed], net.fc)


def _blocks_by_max_pool(features: nn.Sequential) -> NamedModules:
    """AlexNet and VGG: a block ends with its max-pooling, as the papers count them."""
    blocks: list[list[nn.Module]] = [[]]
    for module in features:
        blocks[-1].append(module)
        if isinstance(module, nn.MaxPool2d):
            blocks.append([])
    return [(f"block{i}", _seq(*block)) for i, block in enumerate(blocks, start=1) if block]


def _alexnet_or_vgg(net: models.AlexNet | models.VGG) -> CutNetwork:
    pooling = _seq(net.avgpool, nn.Flatten(1))
    hidden, classifier = net.classifier[:-1], net.classifier[-1]
    if isinstance(hidden[-1], nn.Dropout):  # VGG's; AlexNet's come before its hidden layers
        hidden = hidden[:-1]
    neck = [("neck", pooling), ("fc1", hidden[:3]), ("fc2", hidden[3:])]
    return CutNetwork(_blocks_by_max_pool(net.features), neck, classifier, pooling)


def _convnext(net: models.ConvNeXt) -> CutNetwork:
    parts = net.features
    maps = [("stem", parts[0]), ("stage1", parts[1])]
    maps += [(f"stage{i}", parts[2 * i - 2 : 2 * i]) for i in range(2, 5)]
    norm = net.classifier[0]  # on the pooled 1 x 1 map
    neck = _seq(nn.AdaptiveAvgPool2d(1), norm, nn.Flatten(1))
    return CutNetwork(maps, [("neck", neck)], net.classifier[-1], _pooled())


def _swin(net: models.SwinTransformer) -> CutNetwork:
    # Swin works channels-last; views at the ends of each stage keep maps (n, c, h, w).
    to_last, to_first = Permute([0, 2, 3, 1]), Permute([0, 3, 1, 2])
    parts = net.features
    maps = [("stem", _seq(parts[0], to_first)), ("stage1", _seq(to_last, parts[1], to_first))]
    for i in range(2, 5):
        norm = [net.norm] if i == 4 else []
        maps.append((f"stage{i}", _seq(to_last, *parts[2 * i - 2 : 2 * i], *norm, to_first)))
    return _plain(maps, net.head)


def _maxvit(net: models.MaxVit) -> CutNetwork:
    maps = [("stem", net.stem)]
    maps += [(f"block{i}", block) for i, block in enumerate(net.blocks, start=1)]
    norm, fc, tanh, classifier = net.classifier[2:]  # after a pooling and a flattening
    neck = [("neck", _pooled(norm)), ("fc", _seq(fc, tanh))]
    return CutNetwork(maps, neck, classifier, _pooled())


def _vision_transformer(net: models.VisionTransformer) -> CutNetwork:
    blocks = list(net.encoder.layers.named_children())
    # The final normalisation is part of the last block: alone it would be a stage without matrices
    # that `stage="encoder_layer_11"` leaves out.
    last_name, last = blocks[-1]
    blocks[-1] = (last_name, _seq(last, net.encoder.ln))
    maps = [("stem", PatchTokens(net)), *blocks]
    neck = [("neck", ClassToken())]
    return CutNetwork(maps, neck, net.heads[-1], ClassToken(), has_class_token=True)


_FAMILIES = {
    models.ResNet: _resnet,
    models.RegNet: _regnet,
    models.MobileNetV2: cut_features,
    models.EfficientNet: cut_features,
    models.MobileNetV3: _mobilenet_v3,
    models.MNASNet: _mnasnet,
    models.ShuffleNetV2: _shufflenet,
    models.SqueezeNet: _squeezenet,
    models.DenseNet: _densenet,
    models.GoogLeNet: _googlenet,
    models.Inception3: _inception,
    models.AlexNet: _alexnet_or_vgg,
    models.VGG: _alexnet_or_vgg,
    models.ConvNeXt: _convnext,
    models.SwinTransformer: _swin,
    models.MaxVit: _maxvit,
    models.VisionTransformer: _vision_transformer,
}

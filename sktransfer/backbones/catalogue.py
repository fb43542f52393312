"""The catalogue: facts about every backbone, one record each."""

from dataclasses import replace
from functools import cache
from typing import Any

from torch import nn

from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.names import SOURCES, backbone_names, source_of
from sktransfer.backbones.networks import build_empty
from sktransfer.backbones.sources.base import Sizes, Weights
from sktransfer.exceptions import BackboneError


def list_backbones(source: str | None = None) -> list[dict[str, Any]]:
    """Names and facts of backbones.

    The first call builds each network's structure, without weights, and takes some
    seconds; nothing is downloaded. Networks of timm are not built.

    Parameters
    ----------
    source : {"torchvision", "lite", "timm", "registered"}, optional
        Default: all but those of timm, which need the extra ``timm``.

    Returns
    -------
    list of dict
        One record per backbone, sorted by name; ``pandas.DataFrame(list_backbones())`` is
        a table. Keys:

        - ``name`` : str
        - ``stages`` : dict of str to int, in order. Each stage's name with its depth:
          the smallest ``unfreeze_depth`` that trains it; 0 if it has no parameters. None for
          networks of timm, whose stages are found when they are loaded.
        - ``parameters`` : int, without the classifier.
        - ``input_size`` : int, side of the square input in pixels.
        - ``features`` : int, width of the feature vector.
        - ``weights`` : dict of str to float, names of published weights with their
          ImageNet top-1 accuracy in percent, NaN where unknown; the first is what ``"DEFAULT"``
          means.
        - ``license`` : str, of the first weights, as their publishers name it.

        ``parameters`` and ``features`` are None for networks of a version of timm that is newer
        than the table that sktransfer has of them.

    Raises
    ------
    BackboneError
        If the source is unknown, or its package is not installed.

    Examples
    --------
    >>> from sktransfer import list_backbones
    >>> by_name = {record["name"]: record for record in list_backbones()}
    >>> by_name["resnet18"]["stages"]
    {'stem': 5, 'layer1': 4, 'layer2': 3, 'layer3': 2, 'layer4': 1, 'neck': 0}
    >>> by_name["resnet18"]["weights"]
    {'IMAGENET1K_V1': 69.758}
    """
    if source is not None and source not in SOURCES:
        raise BackboneError(f"source={source!r} is unknown; use one of {list(SOURCES)}, or None.")
    # Copies, so that a caller who edits a record does not edit everyone's.
    return [
        {key: dict(value) if isinstance(value, dict) else value for key, value in record.items()}
        for record in map(_record, backbone_names(source))
    ]


@cache
def _record(name: str) -> dict[str, Any]:
    source = source_of(name)
    random = Weights("random", source.preprocessing(name))
    published = source.published_weights(name)
    weights = next(iter(published.values()), random)
    sizes = source.known_sizes(name)
    if sizes is None:
        sizes = _built(name, replace(random, preprocessing=weights.preprocessing))
    return {
        "name": name,
        "stages": sizes.stages,
        "parameters": sizes.parameters,
        "input_size": weights.preprocessing.crop_size,
        "features": sizes.features,
        "weights": {label: entry.accuracy for label, entry in published.items()},
        "license": weights.license,
    }


def forget_records() -> None:
    """Let the next listing make all records again."""
    _record.cache_clear()


def _built(name: str, weights: Weights) -> Sizes:
    """Stages and sizes of a network, which is built without values."""
    network = build_empty(name, image_size=weights.preprocessing.crop_size)
    backbone = Backbone(name, source_of(name).cut(name, network, weights), weights.preprocessing)
    return sizes_of(backbone, _features_read_by(backbone.pieces.classifier))


def sizes_of(backbone: Backbone, features: int) -> Sizes:
    """Sizes of a network whose stages are known."""
    # A stage without parameters has the depth of its neighbour, with which it is unfrozen; in the
    # table it is 0, because nothing of it trains at any depth.
    parameters = {s.name: sum(p.numel() for p in s.module.parameters()) for s in backbone.stages}
    stages = {s.name: s.depth if parameters[s.name] else 0 for s in backbone.stages}
    return Sizes(sum(parameters.values()), features, stages)


def _features_read_by(classifier: nn.Module) -> int:
    """Width of what a classifier is fed: a Linear, or SqueezeNet's convolution."""
    for module in classifier.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise TypeError(f"No layer with weights in {classifier}.")

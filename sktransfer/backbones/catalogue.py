"""The catalogue: facts about every backbone, one record each."""

from functools import cache
from typing import Any

from torch import nn

from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.names import backbone_names, source_of
from sktransfer.backbones.networks import build_empty


def list_backbones() -> list[dict[str, Any]]:
    """Names and facts of all backbones.

    The first call builds each network's structure, without weights, and takes some
    seconds; nothing is downloaded.

    Returns
    -------
    list of dict
        One record per backbone, sorted by name; ``pandas.DataFrame(list_backbones())`` is
        a table. Keys:

        - ``name`` : str
        - ``stages`` : dict of str to int, in order. Each stage's name with its depth:
          the smallest ``unfreeze_depth`` that trains it; 0 if it has no parameters.
        - ``parameters`` : int, without the classifier.
        - ``input_size`` : int, side of the square input in pixels.
        - ``features`` : int, width of the feature vector.
        - ``weights`` : dict of str to float, names of published weights with their
          ImageNet top-1 accuracy in percent; the first is what ``"DEFAULT"`` means.

    Examples
    --------
    >>> from sktransfer import list_backbones
    >>> by_name = {record["name"]: record for record in list_backbones()}
    >>> by_name["resnet18"]["stages"]
    {'stem': 5, 'layer1': 4, 'layer2': 3, 'layer3': 2, 'layer4': 1, 'neck': 0}
    >>> by_name["resnet18"]["weights"]
    {'IMAGENET1K_V1': 69.758}
    """
    # Copies, so that a caller who edits a record does not edit everyone's.
    return [
        {key: dict(value) if isinstance(value, dict) else value for key, value in record.items()}
        for record in map(_record, backbone_names())
    ]


@cache
def _record(name: str) -> dict[str, Any]:
    source = source_of(name)
    weights = source.published_weights(name)
    default = next((entry.preprocessing for entry in weights.values()), source.preprocessing(name))
    network = build_empty(name, image_size=default.crop_size)
    backbone = Backbone(name, source.cut(network, pretrained=False), default)
    # A stage without parameters has the depth of its neighbour, with which it is unfrozen; in the
    # table it is 0, because nothing of it trains at any depth.
    parameters = {s.name: sum(p.numel() for p in s.module.parameters()) for s in backbone.stages}
    return {
        "name": name,
        "stages": {s.name: s.depth if parameters[s.name] else 0 for s in backbone.stages},
        "parameters": sum(parameters.values()),
        "input_size": default.crop_size,
        "features": _features_read_by(backbone.pieces.classifier),
        "weights": {label: entry.accuracy for label, entry in weights.items()},
    }


def _features_read_by(classifier: nn.Module) -> int:
    """Width of what a classifier is fed: a Linear, or SqueezeNet's convolution."""
    for module in classifier.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise TypeError(f"No layer with weights in {classifier}.")

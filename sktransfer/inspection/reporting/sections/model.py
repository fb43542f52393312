"""What was trained, and on what."""

from __future__ import annotations

import inspect
import platform
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sktransfer._common.versions import installed_version
from sktransfer.backbones.names import source_of
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.exceptions import SktransferError
from sktransfer.inspection.reporting.blocks import Block, Section, Table, Text
from sktransfer.inspection.reporting.material import Material
from sktransfer.inspection.subject import Subject

_LIBRARIES = ("sktransfer", "torch", "torchvision", "scikit-learn", "numpy", "pillow")
_MOST_CLASSES = 50
_LONGEST = 200


def section(material: Material) -> Section:
    """Parameters, backbone, versions and training labels."""
    subject = material.subject
    blocks: list[Block] = [
        Table(
            ["step", "parameter", "value"],
            list(_parameters(subject)),
            f"{subject.name}: parameters that differ from their defaults.",
        )
    ]
    if facts := list(_facts(subject)):
        blocks.append(
            Table(["backbone", ""], facts, "The pretrained network, and what was trained.")
        )
    blocks.append(Table(["library", "version"], list(_versions()), "Versions in use now."))
    blocks.append(_training_labels(material))
    return Section("model", "Model", blocks)


def license_of(subject: Subject) -> str:
    """The licence of the weights, as their publishers name it; "" without a backbone."""
    if subject.backbone is None:
        return ""
    reference = subject.backbone.reference
    if reference.weights is None:
        return "none: the weights are random"
    try:
        published = source_of(reference.name).published_weights(reference.name)
    except SktransferError:  # a network that is not registered here
        return "unknown"
    for label, weights in published.items():
        if reference.weights in ("DEFAULT", label, *weights.aliases):
            return weights.license
    return "that of the weights file, which does not name one"


def _parameters(subject: Subject) -> Iterator[list[str]]:
    for step in subject.steps:
        if not hasattr(step, "get_params"):
            continue
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(type(step)).parameters.items()
        }
        for name, value in step.get_params(deep=False).items():
            if not _same(value, defaults.get(name, inspect.Parameter.empty)):
                text = repr(value)
                shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
                yield [type(step).__name__, name, shown]


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and repr(value) == repr(default))


def _facts(subject: Subject) -> Iterator[list[str]]:
    backbone, network = subject.backbone, subject.network
    if backbone is None:
        return
    reference, seen = backbone.reference, backbone.preprocessing
    yield ["name", reference.name]
    yield ["weights", str(reference.weights)]
    yield ["digest of the weights (SHA-256)", reference.digest]
    yield ["licence of the weights", license_of(subject)]
    yield ["pictures", f"{seen.crop_size} x {seen.crop_size} pixels, resize={seen.resize!r}"]
    yield ["precision, device", f"{backbone.choice.precision}, {backbone.device}"]
    if isinstance(network, PretrainedImageClassifier):
        model = network._model
        yield ["stages that were trained", str(model.architecture.unfreeze_depth)]
        yield ["parameters that were trained", f"{_n_trained(model.net):,}"]
        yield ["epochs", str(len(model.history))]
        yield from (["decided by evidence", str(decision)] for decision in model.decisions())


def _n_trained(net: Any) -> int:
    return sum(p.numel() for p in net.module_.parameters() if p.requires_grad)


def _versions() -> Iterator[list[str]]:
    yield from ([name, installed_version(name)] for name in _LIBRARIES)
    yield ["Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"]


def _training_labels(material: Material) -> Block:
    if material.train is None:
        return Text(
            "The training pictures were not given, so their number in each class is not known. "
            "Give X_train and y_train."
        )
    y = material.train.y
    if material.multilabel:
        counts = dict(zip(material.labels, y.sum(axis=0).tolist(), strict=True))
    else:
        counts = Counter(y.tolist())
    most = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    more = len(most) - _MOST_CLASSES
    return Table(
        ["class", "training pictures"],
        [[str(label), int(count)] for label, count in most[:_MOST_CLASSES]],
        f"{len(material.train)} training pictures of {len(most)} classes"
        + (f"; the {more} rarest are not shown." if more > 0 else "."),
    )

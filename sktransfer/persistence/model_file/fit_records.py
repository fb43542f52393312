"""The results of fits as records: the features of an extractor, the model of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sktransfer._common.python_numbers import with_python_numbers
from sktransfer.activations.engines.choice import PRECISIONS
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.pooling import POOLINGS
from sktransfer.estimators.fitted import Architecture, FittedFeatures, FittedModel, OptimizerState
from sktransfer.estimators.fitted_backbone import FittedBackbone
from sktransfer.estimators.seeds import Seeds
from sktransfer.estimators.training_data import split_network
from sktransfer.exceptions import BackboneError, ModelFileError
from sktransfer.persistence.model_file.backbone_records import Here, backbone_of, backbone_record
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.head_records import head_of, head_records, n_scores, width_of
from sktransfer.persistence.model_file.tensors import Tensors
from sktransfer.persistence.model_file.values import (
    NotPlainError,
    array_of,
    array_record,
    from_plain,
    plain,
)
from sktransfer.selection.scores import Score
from sktransfer.training.losses import LOSSES
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.task import OneLabel, SeveralLabels, Task


def features_record(
    fitted: FittedFeatures, tensors: Tensors, place: str, include: bool | str
) -> dict[str, Any]:
    """The record of a fitted extractor."""
    return {
        "backbone": backbone_record(fitted.backbone, tensors, place, include),
        "stage": plain(with_python_numbers(fitted.stage)),
        "pooling": fitted.pooling,
    }


def features_of(
    fields: Fields, tensors: Tensors, place: str, here: Here, device: str
) -> FittedFeatures:
    """The fitted extractor of a record.

    Raises
    ------
    ModelFileError
    WeightsError
    WeightsUnavailableError
    """
    backbone = backbone_of(fields.record("backbone"), tensors, place, here, device)
    stage = from_plain(fields.take("stage", (str, dict, type(None))), f"{fields.place}.stage")
    names = stage if isinstance(stage, tuple) else (stage,)
    if not all(isinstance(name, str | None) for name in names):
        fields.refuse("stage", stage)
    fitted = FittedFeatures(backbone, stage, fields.one_of("pooling", POOLINGS))
    fields.end()
    return fitted


def model_record(
    model: FittedModel, tensors: Tensors, place: str, include: bool | str
) -> dict[str, Any]:
    """The record of a fitted classifier."""
    module, task, scores = model.net.module_, model.task, (model.resize_scores, model.depth_scores)
    return {
        "backbone": backbone_record(model.backbone, tensors, place, include),
        "architecture": {
            key: plain(with_python_numbers(value))
            for key, value in asdict(model.architecture).items()
        },
        "stages": tensors.put_all(f"{place}/stages", module.stages.state_dict()),
        "head": head_records(module.head, tensors, f"{place}/head"),
        "several_labels": task.multilabel,
        "one_vs_rest": task.one_vs_rest,
        "batch_size": model.net.batch_size,
        "precision": model.net.precision,
        "classes": array_record(model.classes),
        "rows_of_classes": model.rows_of_classes,
        "temperature": float(model.temperature),
        **dict(zip(("resize_scores", "depth_scores"), map(_scores_record, scores), strict=True)),
        "seeds": list(model.seeds),
        "history": plain(model.history),
        "optimizer_state": _state_record(model.optimizer_state, tensors, place),
    }


def _state_record(state: OptimizerState, tensors: Tensors, place: str) -> dict[str, Any]:
    """The record of an optimizer's state; without it, if the optimizer is code."""
    names: list[str] = []

    def tensor(value: Any) -> Any:
        if not isinstance(value, Tensor):
            raise NotPlainError(f"has a state that is a {type(value).__name__}")
        names.append(f"{place}/optimizer/{len(names)}")
        return {"kind": "tensor", "name": tensors.put(names[-1], value)}

    try:
        optimizer, values = plain(state.optimizer), state.state
    except NotPlainError:  # the parameter has another one by now, to which the state means nothing
        optimizer, values = "", None
    return {
        "optimizer": optimizer,
        "unfreeze_depth": plain(with_python_numbers(state.unfreeze_depth)),
        "state": plain(None if values is None else dict(values), tensor),
    }


def model_of(fields: Fields, tensors: Tensors, place: str, here: Here, device: str) -> FittedModel:
    """The fitted classifier of a record.

    Raises
    ------
    ModelFileError
    WeightsError
    WeightsUnavailableError
    """
    backbone = backbone_of(fields.record("backbone"), tensors, place, here, device)
    architecture = _architecture_of(fields.record("architecture"), here, backbone)
    classes = array_of(fields.record("classes"))
    head = head_of(fields.records("head"), tensors, f"{place}/head")
    try:
        _, stages = split_network(architecture, backbone)
        width = backbone.reference.get().width(
            None, architecture.pooling, backbone.preprocessing.crop_size
        )
    except BackboneError as error:
        raise ModelFileError(f"Its stages are not those of a fit: {error}") from error
    _fill(stages, tensors.take_all(f"{place}/stages", fields.texts("stages")))
    if (width_of(head), (n_scores(head),)) != (width, classes.shape):
        raise ModelFileError(
            f"Its head makes {n_scores(head)} scores of {width_of(head)} features; it has classes "
            f"of shape {classes.shape}, and a backbone of {width} features."
        )
    net = _net(fields, backbone.device, stages, head)
    model = FittedModel(
        backbone=backbone,
        architecture=architecture,
        net=net,
        task=_task_of(fields),
        classes=_distinct(classes),
        rows_of_classes=fields.optional("rows_of_classes", lambda name: _counts(fields, name)),
        temperature=_positive(fields, "temperature"),
        resize_scores=_scores_of(fields, "resize_scores", str),
        depth_scores=_scores_of(fields, "depth_scores", int),
        seeds=_seeds_of(fields),
        history=_history_of(fields),
        optimizer_state=_state_of(fields.record("optimizer_state"), tensors),
    )
    if model.rows_of_classes is not None and len(model.rows_of_classes) != len(classes):
        raise ModelFileError("It counts rows of other classes than its own.")
    fields.end()
    return model


def _architecture_of(fields: Fields, here: Here, backbone: FittedBackbone) -> Architecture:
    names = Architecture.__dataclass_fields__
    values = {
        key: from_plain(value, f"{fields.place}.{key}", budget=fields.budget)
        for key, value in fields.items_left()
    }
    if values.keys() != names.keys():
        raise ModelFileError(f"{fields.place} has other fields than an architecture.")
    sizes, depth = values["hidden_layer_sizes"], values["unfreeze_depth"]
    reference = backbone.reference
    # Types first: an array would not even compare.
    is_right = (
        all(type(values[key]) is str for key in ("backbone", "pooling", "batch_norm"))
        and all(type(values[key]) in (int, type(None)) for key in ("in_channels", "image_size"))
        and isinstance(values["weights"], str | Path | None)
        and type(depth) in (int, str)
        and values["backbone"] == reference.name
        and values["in_channels"] == reference.in_channels
        and values["pooling"] in POOLINGS
        and values["batch_norm"] in ("auto", "fixed", "train")
        and type(values["dropout"]) in (int, float)
        and isinstance(sizes, tuple)
        and all(type(size) is int for size in sizes)
        and (depth == "all" or (type(depth) is int and 0 <= depth < 10_000))
    )
    if not is_right:
        raise ModelFileError(f"{fields.place} is not one of a fit.")
    if reference.name in here.weights:
        values["weights"] = here.weights[reference.name]
    return Architecture(**values)


def _fill(stages: TrainableStages, state: Mapping[str, Tensor]) -> None:
    """Put the trained values into stages, in place."""
    own = stages.state_dict()
    if own.keys() != state.keys():
        raise ModelFileError("Its stages have other tensors than those of the backbone.")
    for name, tensor in state.items():
        if (tensor.shape, tensor.dtype) != (own[name].shape, own[name].dtype):
            raise ModelFileError(f"The tensor {name!r:.80} has another shape or dtype.")
    stages.load_state_dict(state)


def _net(fields: Fields, device: str, stages: TrainableStages, head: nn.Sequential) -> TransferNet:
    module = TransferModule(stages, head)
    # Nothing of the training but its result is in a file, as in a net that was trained.
    net = TransferNet(
        module,
        criterion__loss=LOSSES["cross_entropy"],
        criterion__task=OneLabel(),
        optimizer=torch.optim.SGD,
        callbacks="disable",
        device="cpu",
        verbose=0,
        precision=fields.one_of("precision", PRECISIONS),
    )
    net.initialize()
    return net.ready(module, device, fields.whole("batch_size", 1, 2**31))


def _task_of(fields: Fields) -> Task:
    several, one_vs_rest = (fields.take(n, bool) for n in ("several_labels", "one_vs_rest"))
    if several and not one_vs_rest:
        raise ModelFileError(f"{fields.place} has several labels, which exclude each other.")
    return SeveralLabels() if several else OneLabel(one_vs_rest)


def _distinct(classes: np.ndarray) -> np.ndarray:
    plain_ones = (str, bool, int, float)
    if not all(type(each) in plain_ones and each == each for each in classes.tolist()):
        raise ModelFileError("Its classes are not labels: text, numbers or truth values.")
    if len(set(classes.tolist())) < len(classes) or not len(classes):
        raise ModelFileError("It has no classes, or one of them twice.")
    return classes


def _counts(fields: Fields, name: str) -> tuple[int, ...]:
    counts = fields.take(name, list)
    if not all(type(count) is int and count >= 0 for count in counts):
        fields.refuse(name, counts)
    return tuple(counts)


def _positive(fields: Fields, name: str) -> float:
    value = fields.number(name)
    return value if value > 0 else fields.refuse(name, value)


def _scores_record(scores: Mapping[Any, Score] | None) -> list[Any] | None:
    if scores is None:
        return None
    return [[name, *map(plain, asdict(score).values())] for name, score in scores.items()]


def _scores_of(fields: Fields, name: str, kind: type[Any]) -> dict[Any, Score] | None:
    rows = fields.optional(name, lambda each: fields.take(each, list))
    if rows is None:
        return None
    scores = {}
    for row in rows:
        if type(row) is not list or not row:
            fields.refuse(name, row)
        values = [from_plain(each, f"{fields.place}.{name}") for each in row[1:]]
        is_right = type(row[0]) is kind and len(values) == 3
        if not is_right or not all(type(value) is float for value in values):
            fields.refuse(name, row)
        scores[row[0]] = Score(*values)
    return scores


def _seeds_of(fields: Fields) -> Seeds:
    seeds = _counts(fields, "seeds")
    if len(seeds) != len(Seeds._fields) or max(seeds) >= 2**63:
        fields.refuse("seeds", seeds)
    return Seeds(*seeds)


def _history_of(fields: Fields) -> list[dict[str, Any]]:
    place = f"{fields.place}.history"
    history = from_plain(fields.take("history", list), place, budget=fields.budget)
    if not all(isinstance(row, dict) and all(isinstance(k, str) for k in row) for row in history):
        fields.refuse("history", history)
    return history


def _state_of(fields: Fields, tensors: Tensors) -> OptimizerState:
    def tensor(record: Fields, kind: str) -> Tensor:
        if kind != "tensor":
            record.refuse("kind", kind)
        return tensors.take(record.text("name"))

    values = {
        key: from_plain(value, f"{fields.place}.{key}", tensor, budget=fields.budget)
        for key, value in fields.items_left()
    }
    if values.keys() != OptimizerState.__dataclass_fields__.keys():
        raise ModelFileError(f"{fields.place} has other fields than the state of an optimizer.")
    state = values["state"]
    if state is not None and not (isinstance(state, dict) and all(type(k) is int for k in state)):
        raise ModelFileError(f"{fields.place}.state is not by the numbers of parameters.")
    return OptimizerState(**values)

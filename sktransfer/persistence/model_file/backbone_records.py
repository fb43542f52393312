"""The backbone of a fit as a record, with its tensors where the file is to be whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sktransfer._common.devices import available_or_cpu, resolve_device
from sktransfer._common.python_numbers import with_python_numbers
from sktransfer._common.warning import warn
from sktransfer.activations.engines.choice import ENGINES, PRECISIONS, EngineChoice
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.loading import WholeBackbone
from sktransfer.backbones.statistics import Statistics
from sktransfer.backbones.weights import find_weights
from sktransfer.estimators.fitted_backbone import BackboneReference, FittedBackbone
from sktransfer.exceptions import (
    BackboneError,
    DeviceWarning,
    ModelFileError,
    ParameterError,
    WeightsError,
)
from sktransfer.images.preprocessing import CROP_MODES, RESAMPLING, RESIZES, Preprocessing
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.tensors import Tensors
from sktransfer.persistence.model_file.values import from_plain, plain

# Sides of pictures, in pixels: beyond it nothing could be computed.
_MAX_SIDE = 2**14


@dataclass(frozen=True)
class Here:
    """The machine on which a file is opened, as the caller of `load` describes it.

    Parameters
    ----------
    device : str
    weights : mapping of str to path
        Where weights of backbones are, by name.
    known : mapping of str to Backbone
        Backbones that are loaded, by digest; none in a file of a stranger is one of them unless
        it is the same.
    """

    device: str
    weights: Mapping[str, str | Path]
    known: Mapping[str, Backbone]


def backbone_record(
    backbone: FittedBackbone, tensors: Tensors, place: str, include: bool | str
) -> dict[str, Any]:
    """The record of a backbone; its tensors are put where others of the file are.

    Parameters
    ----------
    backbone : FittedBackbone
    tensors : Tensors
    place : str
        Prefix of the tensors' names.
    include : bool or "auto"

    Raises
    ------
    ParameterError
        If the backbone can't be included.
    """
    reference, shape = backbone.reference, backbone.image_shape
    statistics = {
        f"{layer}/{part}": tensor
        for layer, values in reference.statistics.items()
        for part, tensor in values._asdict().items()
    }
    whole = _whole(reference)
    # Weights of the user's own are on this machine alone; those that came in a file may be too.
    is_own = isinstance(reference.weights, Path) or reference.whole is not None
    is_included = is_own if include == "auto" else include
    if is_included and not any(each.is_floating_point() for each in whole.tensors.values()):
        raise ParameterError(
            f"include_backbone=True can't be used: {reference.name} has no tensors, as a file of "
            "ONNX has none. Use include_backbone=False, and register it where the file is opened."
        )
    # Not the place of a file that need not be found again.
    weights = reference.given if is_included else reference.weights
    record = {
        "name": reference.name,
        "weights": plain(with_python_numbers(weights)),
        "label": whole.label,
        "license": whole.license,
        "origin": whole.origin,
        "seed": reference.seed,
        "image_size": reference.image_size,
        "in_channels": reference.in_channels,
        "digest": reference.digest,
        "is_adapted": reference.is_adapted,
        "statistics": list(reference.statistics),
        "preprocessing": asdict(backbone.preprocessing),
        "image_shape": shape,
        **asdict(backbone.choice),
        "whole": None,
    }
    tensors.put_all(f"{place}/statistics", statistics)
    if is_included:
        record["whole"] = {
            "preprocessing": asdict(whole.preprocessing),
            "is_random": whole.is_random,
            "digest": whole.digest,
            "tensors": tensors.put_all(f"{place}/backbone", whole.tensors),
        }
    return record


def _whole(reference: BackboneReference) -> WholeBackbone:
    """What the backbone of a reference is made of, without the statistics of an adaptation."""
    backbone = reference.get()  # raises if its weights have changed since the fit
    if reference.whole is not None:
        return reference.whole
    weights = find_weights(reference.name, reference.weights)
    is_file = isinstance(reference.weights, Path)
    return WholeBackbone(
        label=Path(weights.label).name if is_file else weights.label,
        preprocessing=backbone.preprocessing,
        is_random=weights.is_random,
        tensors=backbone.tensors,
        # That of the weights alone, without an adaptation.
        digest=reference.unadapted().digest if reference.statistics else backbone.digest,
        license=weights.license,
        origin=weights.origin or (Path(weights.path).name if weights.path else ""),
    )


def backbone_of(
    fields: Fields, tensors: Tensors, place: str, here: Here, asked: str
) -> FittedBackbone:
    """The backbone of a record, found or made, and compared with the one that was saved.

    Parameters
    ----------
    fields : Fields
    tensors : Tensors
    place : str
        Prefix of the tensors' names.
    here : Here
    asked : str
        The parameter `device` of the estimator.

    Raises
    ------
    ModelFileError
    WeightsError
        If the weights that are found are others than those of the fit.
    WeightsUnavailableError
    """
    reference = _reference_of(fields, tensors, place, here)
    preprocessing = _preprocessing_of(fields.record("preprocessing"))
    image_shape = fields.optional("image_shape", lambda each: fields.wholes(each, _MAX_SIDE**2))
    choice = EngineChoice(
        fields.one_of("engine", ENGINES),
        _device(fields.text("device"), here.device, asked),
        fields.one_of("precision", PRECISIONS),
    )
    fields.end()
    backbone = FittedBackbone(reference, preprocessing, image_shape, choice)
    _check(backbone)
    return backbone


def _reference_of(fields: Fields, tensors: Tensors, place: str, here: Here) -> BackboneReference:
    """The reference to a backbone, by the caller's weights, those of the file, or those found."""
    name, in_file = fields.text("name"), _weights_of(fields)
    weights, digest = here.weights.get(name, in_file), fields.text("digest")
    names = fields.texts("statistics")
    whole = _whole_of(fields, tensors, place)
    if name in here.weights:  # they count more, and are compared with those of the fit
        find_weights(name, weights)  # raises if there are none
    return BackboneReference.of_file(
        name,
        weights,
        fields.whole("seed", high=2**32),
        fields.optional("image_size", lambda each: fields.whole(each, 1, _MAX_SIDE)),
        fields.whole("in_channels", 1, 512),
        digest=digest,
        statistics={
            layer: _statistics_of(tensors, f"{place}/statistics/{layer}") for layer in names
        },
        is_adapted=fields.take("is_adapted", bool),
        whole=None if name in here.weights or digest in here.known else whole,
        loaded=here.known.get(digest),
    )


def _whole_of(fields: Fields, tensors: Tensors, place: str) -> WholeBackbone | None:
    """What the backbone is made of, if the file holds it."""
    of_weights = {each: fields.text(each) for each in ("label", "license", "origin")}
    record = fields.optional("whole", fields.record)
    if record is None:
        return None
    whole = WholeBackbone(
        **of_weights,
        preprocessing=_preprocessing_of(record.record("preprocessing")),
        is_random=record.take("is_random", bool),
        digest=record.text("digest"),
        tensors=tensors.take_all(f"{place}/backbone", record.texts("tensors")),
    )
    record.end()
    return whole


def _statistics_of(tensors: Tensors, place: str) -> Statistics:
    return Statistics(*(_vector(tensors.take(f"{place}/{part}")) for part in Statistics._fields))


def _weights_of(fields: Fields) -> str | Path | None:
    value = from_plain(fields.take("weights", (str, dict, type(None))), f"{fields.place}.weights")
    return value if isinstance(value, str | Path | None) else fields.refuse("weights", value)


def _vector(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype not in (torch.float32, torch.float64) or tensor.ndim != 1:
        raise ModelFileError("A statistic of BatchNorm has another dtype or shape.")
    return tensor


def _preprocessing_of(fields: Fields) -> Preprocessing:
    made = Preprocessing(
        resize_size=fields.whole("resize_size", 1, _MAX_SIDE),
        crop_size=fields.whole("crop_size", 1, _MAX_SIDE),
        interpolation=fields.one_of("interpolation", RESAMPLING),
        mean=fields.numbers("mean"),
        std=fields.numbers("std"),
        resize=fields.one_of("resize", RESIZES),
        crop_mode=fields.one_of("crop_mode", CROP_MODES),
    )
    if len(made.mean) != len(made.std) or not made.mean or min(made.std) <= 0:
        raise ModelFileError(f"{fields.place} has no mean and deviation for each channel.")
    fields.end()
    return made


def _device(fitted_on: str, given: str, parameter: str) -> str:
    """The device for an estimator of a file: the one that is asked for, now or by its parameter."""
    if given != "auto":
        return resolve_device(given)
    if parameter == "auto":
        return resolve_device("auto")
    device = available_or_cpu(fitted_on)
    if device != fitted_on:
        warn(
            f"This estimator was fitted on {fitted_on!r:.40}, which this machine does not have; "
            "the CPU computes from now on. load(..., device=...) gives it another device.",
            DeviceWarning,
        )
    return device


def _check(backbone: FittedBackbone) -> None:
    """Raise unless the preprocessing of a fit is one of its backbone's."""
    reference = backbone.reference
    try:
        network = reference.get()
    except BackboneError as error:
        raise ModelFileError(f"It needs the backbone {reference.name!r:.80}: {error}") from error
    except WeightsError as error:
        if reference.whole is None:  # those of this machine are others, and the file may be right
            raise
        raise ModelFileError(f"Its backbone is not {reference.name!r:.80}: {error}") from error
    usual = network.preprocessing.at_size(reference.image_size)
    if backbone.preprocessing != usual.resized(backbone.preprocessing.resize):
        raise ModelFileError(f"Its preprocessing is not that of {reference.name}.")
    if len(backbone.preprocessing.mean) != reference.in_channels:
        raise ModelFileError("Its preprocessing is of other channels.")

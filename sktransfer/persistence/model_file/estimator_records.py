"""An estimator of ours as a record: its parameters, its settings of scikit-learn and its fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from sktransfer.estimators.base import BackboneEstimator
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.estimators.fitted import FittedFeatures
from sktransfer.exceptions import BackboneError, ModelFileError, ParameterError
from sktransfer.persistence.model_file.backbone_records import Here
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.fit_records import (
    features_of,
    features_record,
    model_of,
    model_record,
)
from sktransfer.persistence.model_file.routing import requests_of, set_requests
from sktransfer.persistence.model_file.tensors import Tensors
from sktransfer.persistence.model_file.values import (
    NotPlainError,
    array_of,
    array_record,
    from_plain,
    plain,
)

_CLASSES = {each.__name__: each for each in (PretrainedImageClassifier, PretrainedFeatureExtractor)}
# Folders of one machine. A file of a stranger must not choose where predictions write.
FOLDERS = ("cache", "checkpoint_dir")
_COLUMNS = ("n_features_in_", "feature_names_in_")
_OUTPUT, _REQUESTS = "_sklearn_output_config", "_metadata_request"
_OUTPUTS = ("default", "pandas", "polars")


def estimator_record(
    estimator: BackboneEstimator,
    tensors: Tensors,
    place: str,
    include: bool | str,
    other: Callable[[Any], Any],
) -> dict[str, Any]:
    """The record of an estimator.

    Parameters
    ----------
    estimator : PretrainedImageClassifier or PretrainedFeatureExtractor
    tensors : Tensors
    place : str
        Prefix of the names of its tensors.
    include : bool or "auto"
    other : callable
        Gives a record of a parameter that is an estimator, or another object of scikit-learn.

    Raises
    ------
    ParameterError
        If it holds what no model file can hold.
    """
    name, state = type(estimator).__name__, vars(estimator)
    if _CLASSES.get(name) is not type(estimator):
        raise ParameterError(
            f"A model file can hold {' and '.join(_CLASSES)}, and no class derived from them: "
            f"{type(estimator).__module__}.{name} is code. Use joblib.dump, or keep the class "
            "beside a file of the estimator that it wraps."
        )
    estimator._check_parameters()
    parameters = {each: state[each] for each in estimator.get_params(deep=False)}
    known = {*parameters, *_COLUMNS, _OUTPUT, _REQUESTS, "_fitted", "_model", "_n_features_out"}
    unknown = sorted(state.keys() - known)
    if unknown:
        raise ParameterError(
            f"{name} has attributes that sktransfer did not set, {unknown[:5]}, and a model file "
            "can't hold them. Delete them, or use joblib.dump."
        )
    fitted: dict[str, Any] | None = None
    if "_model" in state:
        fitted = model_record(state["_model"], tensors, place, include)
    if "_fitted" in state:
        fitted = features_record(state["_fitted"], tensors, place, include)
        fitted["n_features_out"] = state["_n_features_out"]
    names = state.get("feature_names_in_")
    return {
        "class": name,
        "parameters": _parameters_record(name, estimator, parameters, other),
        "output": state.get(_OUTPUT, {}).get("transform"),
        "requests": requests_of(state[_REQUESTS]) if _REQUESTS in state else {},
        "n_features_in": state.get("n_features_in_"),
        "feature_names_in": None if names is None else array_record(names),
        "fitted": fitted,
    }


def _parameters_record(
    name: str, estimator: Any, parameters: dict[str, Any], other: Callable[[Any], Any]
) -> dict[str, Any]:
    record = {}
    defaults = inspect.signature(type(estimator)).parameters
    for key, value in parameters.items():
        if key in FOLDERS:
            continue
        try:
            record[key] = plain(value, other)
        except NotPlainError as error:
            default = defaults[key].default
            raise ParameterError(
                f"{key}={value!r:.80} of {name} {error}, and a model file holds no code, so that "
                f"it can be opened safely. Use set_params({key}={default!r}), which changes "
                "nothing of the fit, and save again; or use joblib.dump."
            ) from error
    return record


def estimator_of(
    fields: Fields, tensors: Tensors, place: str, here: Here, other: Callable[[Fields, str], Any]
) -> BackboneEstimator:
    """The estimator of a record.

    Raises
    ------
    ModelFileError
    WeightsError
    WeightsUnavailableError
    """
    cls = _CLASSES[fields.one_of("class", _CLASSES)]
    given = fields.record("parameters")
    parameters = {
        key: from_plain(value, f"{given.place}.{key}", other, budget=given.budget)
        for key, value in given.items_left()
    }
    # Later versions may have more parameters; a file without them has their defaults.
    unknown = parameters.keys() - (inspect.signature(cls).parameters.keys() - {*FOLDERS})
    if unknown:
        raise ModelFileError(f"{given.place} has unknown parameters {sorted(unknown)[:3]!r:.200}.")
    estimator: BackboneEstimator = cls(**parameters)
    try:
        estimator._check_parameters()
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{given.place} can't be used: {str(error)[:300]}") from error
    _restore_settings(fields, estimator)
    state = estimator.__dict__
    fitted = fields.optional("fitted", fields.record)
    if fitted is not None and cls is PretrainedFeatureExtractor:
        width = fitted.whole("n_features_out", 1)
        state["_fitted"] = features_of(fitted, tensors, place, here, estimator.device)
        state["_n_features_out"] = width
        _check_width(state["_fitted"], width)
    elif fitted is not None:
        state["_model"] = model_of(fitted, tensors, place, here, estimator.device)
    fields.end()
    if here.device != "auto":
        estimator.device = here.device
    if estimator.backbone in here.weights:
        estimator.weights = here.weights[estimator.backbone]
    return estimator


def _check_width(fitted: FittedFeatures, width: int) -> None:
    try:
        found = fitted.n_features()
    except BackboneError as error:
        raise ModelFileError(f"Its features are not those of its backbone: {error}") from error
    if found != width:
        raise ModelFileError(f"It has {found} features, and says that it has {width}.")


def _restore_settings(fields: Fields, estimator: Any) -> None:
    """Give an estimator its columns, the form of its output and its requests of metadata."""
    output = fields.optional("output", lambda name: fields.one_of(name, _OUTPUTS))
    if output is not None:
        if not hasattr(estimator, "set_output"):
            fields.refuse("output", output)
        estimator.set_output(transform=output)
    set_requests(estimator, fields.take("requests", dict))
    columns: tuple[Any, ...] = (
        fields.optional("n_features_in", lambda name: fields.whole(name, 1)),
        fields.optional("feature_names_in", lambda name: array_of(fields.record(name))),
    )
    names = columns[1]
    if names is not None and (names.dtype != np.dtype(object) or names.shape != (columns[0],)):
        raise ModelFileError(f"{fields.place}.feature_names_in are not the names of its columns.")
    for name, value in zip(_COLUMNS, columns, strict=True):
        if value is not None:
            setattr(estimator, name, value)

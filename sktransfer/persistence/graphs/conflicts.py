"""What a graph can't hold: each is an error that names the parameter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktransfer._common.sklearn_private import BaseSearchCV
from sktransfer.backbones.onnx_file import OnnxNetwork
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.estimators.fitted import FittedFeatures, FittedModel
from sktransfer.exceptions import ParameterError


def exportable(estimator: Any) -> FittedFeatures | FittedModel:
    """The result of the fit of an estimator that can be a graph.

    Raises
    ------
    TypeError
        If it is none of this package's two estimators.
    NotFittedError
    ParameterError
        If a graph can't hold one of its parameters.
    """
    if not isinstance(estimator, PretrainedFeatureExtractor | PretrainedImageClassifier):
        raise TypeError(_what_else(estimator))
    check_is_fitted(estimator)
    estimator._check_parameters()
    classifies = isinstance(estimator, PretrainedImageClassifier)
    fitted: FittedFeatures | FittedModel = estimator._model if classifies else estimator._fitted
    for message in _conflicts(estimator, fitted):
        raise ParameterError(message)
    return fitted


def _what_else(estimator: Any) -> str:
    name = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
    known = "export takes a fitted PretrainedImageClassifier or PretrainedFeatureExtractor"
    if isinstance(estimator, Pipeline):
        return (
            f"{known}, not a Pipeline, whose other steps are scikit-learn's. Use a "
            "PretrainedImageClassifier, or export the extractor alone and run the other steps on "
            "its features."
        )
    if isinstance(estimator, BaseSearchCV):
        return f"{known}, not a search. Give its best_estimator_."
    return f"{known}; got {name}."


def _conflicts(estimator: Any, fitted: FittedFeatures | FittedModel) -> Iterator[str]:
    if getattr(estimator, "tta", None) is not None:
        yield (
            f"tta={estimator.tta} predicts with the mean over random views, which a graph can't "
            "hold. Use set_params(tta=None); the predictions are then those of one view."
        )
    if getattr(estimator, "mc_dropout", None) is not None:
        yield (
            f"mc_dropout={estimator.mc_dropout} draws samples of dropout, which a graph can't "
            "hold. Use set_params(mc_dropout=None)."
        )
    backbone = fitted.backbone
    if backbone.image_shape is not None:
        yield (
            f"image_shape={backbone.image_shape} is for rows of flattened pixels, and a graph "
            "takes pictures (n, h, w, c). Reshape X, and fit with image_shape=None."
        )
    network = fitted.network() if isinstance(fitted, FittedFeatures) else fitted.frozen_network()
    if any(isinstance(module, OnnxNetwork) for module in network.modules()):
        yield (
            f"backbone={backbone.reference.name!r} is a file of ONNX, which torch can't record. "
            "Fit with a backbone of torch's."
        )

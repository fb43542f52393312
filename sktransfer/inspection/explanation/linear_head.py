"""The linear map from features to scores, where a classifier ends with one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from torch import Tensor, nn

from sktransfer._common.sklearn_private import LinearClassifierMixin
from sktransfer.exceptions import ParameterError
from sktransfer.training.head import Dropout, NormalisedLinear, Scaled

# Steps that are a matrix and a vector once they are fitted.
_AFFINE = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PCA, TruncatedSVD)
# Rows of the unit matrix that are transformed at once.
_AT_ONCE = 1024


def linear_of_head(head: Iterable[nn.Module]) -> nn.Linear | None:
    """The head of a network as one linear layer, or None where it has hidden layers."""
    *before, last = head
    scale: Tensor | float = 1.0
    for layer in before:
        if isinstance(layer, Scaled):
            scale = scale / layer.length
        elif not isinstance(layer, Dropout):  # which does nothing in prediction
            return None
    if isinstance(last, NormalisedLinear):
        weight = last.linear.weight / last.length
        return _linear(weight, last.linear.bias - weight @ last.mean)
    assert isinstance(last, nn.Linear)
    return _linear(last.weight * scale, last.bias)


def linear_of_steps(steps: Sequence[Any], n_features: int) -> nn.Linear:
    """The steps of a pipeline behind the extractor as one linear layer.

    With two classes, half the log-odds of the second class is its score, and the negative of it
    the score of the first.

    Parameters
    ----------
    steps : sequence of estimator
        Fitted; the last one is the classifier.
    n_features : int
        Number of features that the first step takes.

    Raises
    ------
    ParameterError
        If a step is not linear, naming it.
    """
    *transformers, classifier = steps
    weight, bias = _of_classifier(classifier)
    if weight.shape[0] == 1:
        weight, bias = np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
    transformers = [step for step in transformers if hasattr(step, "transform")]
    for step in transformers:
        # A scaler that clips is linear only in part.
        if not isinstance(step, _AFFINE) or getattr(step, "clip", False):
            raise ParameterError(
                f"{type(step).__name__}, between the extractor and the classifier, is not linear. "
                "Use StandardScaler or PCA there, or method='occlusion'."
            )
    for step in reversed(transformers):
        width = int(getattr(step, "n_features_in_", n_features))
        weight, bias = _before(step, width, weight, bias)
    return _linear(torch.from_numpy(weight), torch.from_numpy(bias))


def _of_classifier(classifier: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights (k, d) and intercepts (k,) in float64; one of each for two classes."""
    parts = [classifier]
    if isinstance(classifier, OneVsRestClassifier):
        parts = classifier.estimators_
    for part in parts:
        if not isinstance(part, LinearClassifierMixin):
            raise ParameterError(
                f"The last step, {type(part).__name__}, is no linear model of scikit-learn. Use "
                "LogisticRegression, LinearSVC, SGDClassifier or RidgeClassifier, or "
                "method='occlusion'."
            )
    # RidgeClassifier has one row of weights, or without fit_intercept one number for all classes.
    weights = [_rows(part.coef_) for part in parts]
    bias = [
        np.broadcast_to(part.intercept_, len(of_part))
        for part, of_part in zip(parts, weights, strict=True)
    ]
    return np.vstack(weights), np.hstack(bias).astype(np.float64)


def _rows(coef: Any) -> np.ndarray:
    """Weights (k, d) in float64, also of a model that was made sparse by `sparsify`."""
    dense = coef.toarray() if hasattr(coef, "toarray") else coef
    return np.atleast_2d(dense).astype(np.float64)


def _before(
    step: Any, width: int, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias on what a step takes, from those on what it gives."""
    step = copy.copy(step)
    vars(step).pop("feature_names_in_", None)  # arrays without names are fine here
    # The columns of its matrix are the images of the unit vectors, less that of zero.
    zero = np.asarray(step.transform(np.zeros((1, width))))
    moved = np.empty((len(weight), width))
    for start in range(0, width, _AT_ONCE):
        units = np.eye(min(_AT_ONCE, width - start), width, start)
        moved[:, start : start + len(units)] = weight @ (np.asarray(step.transform(units)) - zero).T
    return moved, bias + weight @ zero[0]


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], device=weight.device)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear.requires_grad_(False)

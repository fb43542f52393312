"""What displays ask of a fitted classifier: predictions, pictures, features, its network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.decomposition import PCA, IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from sktransfer._common.sklearn_private import BaseSearchCV
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.estimators.fitted_backbone import FittedBackbone
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource, as_images

_OURS = (PretrainedFeatureExtractor, PretrainedImageClassifier)

# Steps that learn nothing from labels. Any other step may: scikit-learn has no tag that says it.
_BLIND_TO_LABELS = (
    *(PCA, IncrementalPCA, KernelPCA, TruncatedSVD, VarianceThreshold, KNNImputer, SimpleImputer),
    *(FunctionTransformer, MaxAbsScaler, MinMaxScaler, Normalizer, PowerTransformer),
    *(QuantileTransformer, RobustScaler, StandardScaler),
)


@dataclass(frozen=True, eq=False)
class Subject:
    """A fitted classifier, as displays see it. Use `subject_of` to make one.

    Parameters
    ----------
    estimator : classifier
        Of a search, its best estimator.
    steps : tuple
        What it runs, one after the other: the steps of a pipeline, or itself.
    place : int or None
        Number of the step that has a backbone; None where there is none, or none is found.
    classes : ndarray of shape (n_classes,)
        The labels; column numbers where a picture may have several labels.
    multilabel : bool
        Whether a picture may have several labels.
    """

    estimator: Any
    steps: tuple[Any, ...]
    place: int | None
    classes: np.ndarray
    multilabel: bool

    @property
    def name(self) -> str:
        """How errors refer to the classifier."""
        return type(self.estimator).__name__

    @property
    def network(self) -> PretrainedImageClassifier | PretrainedFeatureExtractor | None:
        """The step that has a backbone."""
        return None if self.place is None else self.steps[self.place]

    @property
    def backbone(self) -> FittedBackbone | None:
        """The backbone, and how pictures come to it."""
        network = self.network
        if isinstance(network, PretrainedImageClassifier):
            return network._model.backbone
        return None if network is None else network._fitted.backbone

    @property
    def after_network(self) -> tuple[Any, ...]:
        """The steps that take what the network gives."""
        return () if self.place is None else self.steps[self.place + 1 :]

    @property
    def saw_labels(self) -> bool:
        """Whether what gives the features was, or may have been, trained on labels."""
        network = self.network
        if isinstance(network, PretrainedImageClassifier):
            architecture = network._model.architecture
            return architecture.unfreeze_depth != 0 or bool(architecture.hidden_layer_sizes)
        return any(
            hasattr(step, "transform") and not isinstance(step, _BLIND_TO_LABELS)
            for step in self.after_network[:-1]
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predicted labels (n,), or an indicator (n, n_classes) of several labels.

        Raises
        ------
        ParameterError
            If the classifier predicts several labels in a form that is not known beforehand.
        """
        predictions = np.asarray(self.estimator.predict(X))
        if (predictions.ndim > 1) != self.multilabel:
            raise ParameterError(_several_outputs(self.name))
        return predictions

    @property
    def why_no_probabilities(self) -> str:
        """A sentence that says why there are no probabilities; "" where there are."""
        if hasattr(self.estimator, "predict_proba"):
            return ""
        return (
            f"{self.name} has no predict_proba: its last step, {type(self.steps[-1]).__name__}, "
            "predicts labels without probabilities. Use one that has them, such as "
            "LogisticRegression, or wrap it in CalibratedClassifierCV."
        )

    def probabilities(self, X: Any) -> np.ndarray | None:
        """Probabilities (n, n_classes), or None: see `why_no_probabilities`."""
        if self.why_no_probabilities:
            return None
        return np.asarray(self.estimator.predict_proba(X))

    def outcome(self, X: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Predictions, and probabilities or None, with one pass of the pictures for both."""
        last, X = self.steps[-1], through(self.steps[:-1], X)
        if isinstance(last, PretrainedImageClassifier):
            return last._predictions_and_probabilities(X)
        # Predictions are those of `predict`: for some classifiers, such as SVC, they are not the
        # most probable labels.
        subject = replace(self, estimator=last, steps=(last,), place=None)
        return subject.predict(X), subject.probabilities(X)

    def pictures(self, X: Any) -> ImageSource:
        """The pictures in X, in the form in which they come to the backbone.

        Files need not exist. Without a backbone, X must hold pictures or paths.

        Raises
        ------
        ImageError
            If X holds no pictures.
        """
        network, backbone = self.network, self.backbone
        if network is None or backbone is None:
            return as_images(X)
        before = through(self.steps[: self.place], X)
        shape, channels = backbone.image_shape, backbone.in_channels
        return network._images(before, shape, channels, missing_ok=True)

    def features(self, X: Any) -> np.ndarray:
        """Features (n, n_features), float32: what the last layer, or the last step, takes.

        They are read from the cache of the estimator where it has them.

        Raises
        ------
        ParameterError
            If the classifier has no backbone.
        """
        network = self.network
        if network is None:
            raise ParameterError(
                f"Features are of a backbone, and {self.name} has none that can be found. Use a "
                "PretrainedImageClassifier, or a Pipeline that begins with a "
                "PretrainedFeatureExtractor."
            )
        pictures = through(self.steps[: self.place], X)
        if isinstance(network, PretrainedFeatureExtractor):
            features = through(self.steps[self.place : -1], pictures)
            dense = features.toarray() if hasattr(features, "toarray") else features
            return np.asarray(dense, dtype=np.float32)
        check_is_fitted(network)
        network._check_parameters()
        model = network._model  # read once: another thread may fit this classifier meanwhile
        backbone = model.backbone
        images = network._images(pictures, backbone.image_shape, backbone.in_channels)
        return model.features(images, network._run_options())


def subject_of(estimator: Any, who: str) -> Subject:
    """Look at a fitted classifier.

    Parameters
    ----------
    estimator : classifier
        A PretrainedImageClassifier, a Pipeline that begins with a PretrainedFeatureExtractor, a
        search over one of these, or, where only predictions are needed, any other classifier.
    who : str
        The function or class that asks, for errors.

    Returns
    -------
    Subject

    Raises
    ------
    TypeError
        If it is no classifier.
    NotFittedError
        If it is not fitted.
    ParameterError
        If it is a search without a best estimator, or has several outputs.
    """
    if isinstance(estimator, type) or not hasattr(estimator, "fit") or not is_classifier(estimator):
        shown = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
        raise TypeError(
            f"{who} takes a fitted classifier: a PretrainedImageClassifier, a Pipeline that begins "
            "with a PretrainedFeatureExtractor and ends with a classifier, a search over one of "
            f"these, or any other classifier of pictures; got {shown}."
        )
    check_is_fitted(estimator)
    found = _best(estimator, who)
    steps = tuple(_steps(found, who))
    classes = found.classes_
    if isinstance(classes, list):  # one array of classes for each output
        raise ParameterError(_several_outputs(type(found).__name__))
    places = [i for i, step in enumerate(steps) if isinstance(step, _OURS)]
    last = steps[-1]
    ours = isinstance(last, PretrainedImageClassifier)
    return Subject(
        estimator=found,
        steps=steps,
        place=places[0] if places else None,
        classes=np.asarray(classes),
        # The attribute is that of OneVsRestClassifier.
        multilabel=last._model.task.multilabel if ours else bool(getattr(last, "multilabel_", 0)),
    )


def _best(estimator: Any, who: str) -> Any:
    """The estimator itself; of a search, the best one."""
    # Not by `cv_results_`: RidgeClassifierCV has some too.
    if not isinstance(estimator, BaseSearchCV):
        return estimator
    if not hasattr(estimator, "best_estimator_"):
        raise ParameterError(
            f"{who} looks at the best estimator of a search, and this {type(estimator).__name__} "
            "has kept none: refit=False. Use refit=True, or give a fitted classifier."
        )
    return estimator.best_estimator_


def _steps(estimator: Any, who: str) -> Iterator[Any]:
    """What an estimator runs when it predicts, one after the other."""
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if not isinstance(estimator, Pipeline):
        yield estimator
        return
    for _, step in estimator.steps:
        if step is not None and not isinstance(step, str):  # "passthrough"
            yield from _steps(_best(step, who), who)


def through(steps: Sequence[Any], X: Any) -> Any:
    """X after some steps; those that only resample the rows of a fit are left out."""
    for step in steps:
        if hasattr(step, "transform"):
            X = step.transform(X)
    return X


def _several_outputs(name: str) -> str:
    return (
        f"{name} predicts several outputs for each picture, in a form of its own. For several "
        "labels use OneVsRestClassifier, or a PretrainedImageClassifier with "
        "loss='binary_cross_entropy'."
    )

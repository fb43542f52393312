"""Occlusion: how much the prediction suffers where a part of the picture is hidden."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp
from sklearn.pipeline import Pipeline

from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.subject import Subject, through

logger = logging.getLogger("sktransfer")

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

    The evidence is by how much the score of the class is above the best other one; without
    scores, the log-odds of its probability, or the logarithm of the probability where that rounds
    to 0 or 1; without probabilities, 1 if it is predicted. Where there may be several labels, each
    has its own score. A patch has the mean colour of the picture. Where there is a backbone,
    patches are put on the square that it sees.

    A line is logged where probabilities are 0 or 1 whatever is hidden: such maps are all 0.

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
    evidence = _finite(
        np.concatenate(
            [
                shown.evidence(pictures, codes[rows])
                for rows, pictures in _batches(shown, len(codes))
            ]
        ).reshape(len(codes), N_PREDICTIONS, 2)
    )
    drops = evidence[:, :1] - evidence[:, 1:]
    maps = np.zeros((len(codes), _CELLS, _CELLS), dtype=np.float32)
    for place, drop in zip(_PLACES, drops.T, strict=True):
        rows, columns = _patch(place, _CELLS, _CELLS)
        maps[:, rows, columns] += drop[:, None, None] / _PATCH**2
    return maps


def _finite(evidence: np.ndarray) -> np.ndarray:
    """Evidence (n, m) of n pictures: the first of two kinds (n, m, 2) where it is finite."""
    first, second = evidence[..., 0], evidence[..., 1]
    is_finite = np.isfinite(first).all(axis=1)
    n_saturated = int((~is_finite & (second == second[:, :1]).all(axis=1)).sum())
    if n_saturated:
        logger.warning(
            "%d of %d pictures have a probability of exactly 0 or 1, whatever part is hidden: "
            "their maps are all 0. A classifier with decision_function tells more.",
            *(n_saturated, len(evidence)),
        )
    return np.where(is_finite[:, None], first, second)


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
    multilabel : bool
    """

    picture: Callable[[int], np.ndarray]
    prepare: Callable[[list[np.ndarray]], Any]
    model: Any
    classes: np.ndarray
    multilabel: bool

    def evidence(self, pictures: list[np.ndarray], codes: np.ndarray) -> np.ndarray:
        """Evidence (n, 2) of pictures for their classes; the second where the first is infinite."""
        X, model = self.prepare(pictures), self.model
        if hasattr(model, "decision_function"):
            margins = self._margins(np.asarray(model.decision_function(X), np.float64), codes)
            return np.stack([margins, margins], axis=1)
        if hasattr(model, "predict_log_proba") or hasattr(model, "predict_proba"):
            return self._log_odds(X, codes)
        predictions = np.asarray(model.predict(X))
        is_predicted = (
            _own(predictions, codes) if predictions.ndim > 1 else predictions == self.classes[codes]
        )
        return np.stack([is_predicted, is_predicted], axis=1).astype(np.float64)

    def _margins(self, scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """By how much (n,) the scores of the classes are above the best other ones."""
        if scores.ndim == 1:  # one score for two classes
            scores = np.stack([-scores, scores], axis=1) / 2
        n_classes = len(self.classes)
        if not (n_classes > 2 and _scores_pairs(self.model)):
            return self._less_others(scores, codes, lambda others: others.max(axis=1))
        first, second = np.triu_indices(n_classes, 1)
        signs = (codes[:, None] == first).astype(int) - (codes[:, None] == second)
        return np.asarray(np.where(signs, signs * scores, np.inf).min(axis=1))

    def _log_odds(self, X: Any, codes: np.ndarray) -> np.ndarray:
        """Log-odds of each class, which are infinite where probabilities round, and logarithms."""
        with np.errstate(divide="ignore"):
            if self.multilabel or not hasattr(self.model, "predict_log_proba"):
                probabilities = np.asarray(self.model.predict_proba(X), dtype=np.float64)
                logs = np.log(probabilities)
            else:
                logs = np.asarray(self.model.predict_log_proba(X), dtype=np.float64)
            own = _own(logs, codes)
            if self.multilabel:
                odds = own - np.log1p(-_own(probabilities, codes))
            else:
                odds = self._less_others(logs, codes, lambda others: logsumexp(others, axis=1))
        return np.stack([odds, np.maximum(own, _LOG_OF_ZERO)], axis=1)

    def _less_others(
        self, values: np.ndarray, codes: np.ndarray, of_others: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Values (n,) of the classes, less those of the others where only one class is true."""
        own = _own(values, codes)
        if self.multilabel or values.shape[1] == 1:
            return own
        others = values.copy()
        others[np.arange(len(codes)), codes] = -np.inf
        return own - of_others(others)


def _own(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Values (n,) of the classes, of values (n, k)."""
    return values[np.arange(len(codes)), codes]


def _scores_pairs(model: Any) -> bool:
    """True if there is a score for each pair of classes, positive for the first, as SVC may have.

    Their number does not tell: three classes have three pairs.
    """
    last = model
    while isinstance(last, Pipeline):
        last = last[-1]
    return bool(getattr(last, "decision_function_shape", None) == "ovo")


def _batches(shown: _Shown, n_pictures: int) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """The whole and the occluded pictures, with their rows, as many as memory has room for."""
    rows: list[int] = []
    pictures: list[np.ndarray] = []
    n_bytes = 0
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
            n_bytes += occluded.nbytes
            if n_bytes > _AT_ONCE:
                yield rows, pictures
                rows, pictures, n_bytes = [], [], 0
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
        multilabel=subject.multilabel,
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
        multilabel=subject.multilabel,
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

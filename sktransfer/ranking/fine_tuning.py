"""Fine-tuning of the candidates that are most likely to be the best after it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from sklearn.base import clone

from sktransfer._common.left_behind import temporary_folder
from sktransfer._common.warning import silenced
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.ranking.candidates import Candidate
from sktransfer.ranking.frozen_head import Comparison, Measured

# A fit with unfreeze_depth="auto" trains up to seven times.
_FOLDS = 3
# Parameters of an extractor that mean the same in a classifier.
_SHARED = (
    *("backbone", "weights", "pooling", "image_size", "resize", "image_shape"),
    "in_channels",
    *("device", "precision", "engine", "n_jobs"),
)


def worth_fine_tuning(measured: Sequence[Measured], k: int) -> list[Candidate]:
    """The k best by the head and the k best by published accuracy, of whole networks.

    Their union has the least regret: Renggli et al., "Which Model to Transfer? Finding the Needle
    in the Growing Haystack", CVPR 2022.
    """
    whole = [each for each in measured if each.candidate.is_whole]
    known = [each for each in whole if not np.isnan(each.imagenet_accuracy)]
    chosen = [
        *sorted(whole, key=lambda each: -each.fold_accuracies.mean())[:k],
        *sorted(known, key=lambda each: -each.imagenet_accuracy)[:k],
    ]
    return list({each.candidate.label: each.candidate for each in chosen}.values())


def fine_tuned_accuracies(candidate: Candidate, comparison: Comparison) -> np.ndarray:
    """Accuracies (n_folds,) of the first folds, fine-tuned as deep as evidence says.

    Raises
    ------
    KeyboardInterrupt
        If a fit was interrupted.
    """
    extractor, sample = candidate.extractor, comparison.sample
    own = extractor.get_params()
    pictures = list(sample.images.items)
    # Without the user's cache, the folds and depths share one of their own.
    folder = temporary_folder() if extractor.cache is None else nullcontext()
    with folder as temporary:
        classifier = PretrainedImageClassifier(
            **{name: own[name] for name in _SHARED},
            unfreeze_depth="auto",
            loss=comparison.settings.loss.name,
            cache=temporary or extractor.cache,
            random_state=0,
        )
        found = [
            _accuracy(classifier, pictures, sample.y, *fold) for fold in comparison.folds[:_FOLDS]
        ]
    return np.array(found)


def _accuracy(
    classifier: Any, X: list[Any], y: np.ndarray, learned: np.ndarray, held_out: np.ndarray
) -> float:
    with silenced():  # a trial: the user's own fit will warn where there is a reason
        fitted = clone(classifier).fit([X[row] for row in learned], y[learned])
    if fitted.net_.interrupted_:
        raise KeyboardInterrupt
    return float(fitted.score([X[row] for row in held_out], y[held_out]))

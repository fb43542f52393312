"""What one pass tells of a candidate: the accuracy of heads on its frozen features, and figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sktransfer.activations.views import FixedViews
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.labels import Labels
from sktransfer.estimators.settings import training_settings
from sktransfer.ranking.candidates import Candidate
from sktransfer.ranking.evidence import logme
from sktransfer.ranking.speed import Stopwatch
from sktransfer.selection.cross_validation import Folds, accuracies
from sktransfer.selection.pictures import Sample
from sktransfer.training.batches import Rows
from sktransfer.training.settings import TrainingSettings


@dataclass(frozen=True)
class Measured:
    """A candidate, and what was measured of it.

    Parameters
    ----------
    candidate : Candidate
    fold_accuracies : ndarray of shape (n_folds,)
    imagenet_accuracy : float
        From 0 to 1; NaN where unknown.
    seconds_per_1000 : float
        NaN where no picture had to be computed.
    parameters, features : int
    logme : float
    license : str
    """

    candidate: Candidate
    fold_accuracies: np.ndarray
    imagenet_accuracy: float
    seconds_per_1000: float
    parameters: int
    features: int
    logme: float
    license: str


@dataclass(frozen=True)
class Comparison:
    """Pictures and folds that are the same for all candidates.

    Parameters
    ----------
    sample : Sample
    folds : list
        Positions in the sample.
    settings : TrainingSettings
        Those of the classifier's default head.
    """

    sample: Sample
    folds: Folds
    settings: TrainingSettings

    @classmethod
    def of(cls, sample: Sample, folds: Folds, labels: Labels) -> Comparison:
        """A comparison by the head that a classifier with default parameters trains."""
        # The default loss is for one label per picture.
        loss = "binary_cross_entropy" if labels.multilabel else "cross_entropy"
        classifier = PretrainedImageClassifier(loss=loss)
        settings = training_settings(
            *(classifier, labels, sample.weights), device="cpu", precision="float32", seed=0
        )
        return cls(sample, folds, settings)

    def measured(self, candidate: Candidate) -> Measured:
        """Let the pictures pass the backbone once, and judge heads on its features."""
        extractor, weights = candidate.extractor, candidate.weights
        fitted = extractor._fitted_features()
        fitted.n_features()  # raises if the network can't take these pictures, before any is read
        watch = Stopwatch()
        one_pass = fitted.one_pass(extractor._run_options(), candidate.label, watch=watch)
        features, _ = one_pass.collect(self.sample.images)
        rows = Rows.of(FixedViews([features]), self.sample.y, self.sample.weights)
        return Measured(
            candidate,
            fold_accuracies=accuracies(self.settings, rows, self.folds),
            imagenet_accuracy=weights.accuracy / 100 if candidate.is_whole else float("nan"),
            seconds_per_1000=1000 * watch.seconds_per_picture(),
            parameters=sum(p.numel() for p in one_pass.network.parameters()),
            features=features.shape[1],
            logme=logme(features.numpy(), _indicator(self.sample.y)),
            license=weights.license,
        )


def _indicator(y: np.ndarray) -> np.ndarray:
    """1 in the column of each label that a row has."""
    return y if y.ndim > 1 else (y[:, None] == np.unique(y)).astype(float)

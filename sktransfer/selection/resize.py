"""The choice of `resize`: how a picture of any shape becomes the network's square."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sktransfer.activations.results import Known
from sktransfer.activations.streaming import FrozenPass
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.images.preprocessing import RESIZES, Preprocessing
from sktransfer.selection.cross_validation import counts_of, log_likelihoods, make_folds
from sktransfer.selection.pictures import LabelledPictures
from sktransfer.selection.scores import Score, best_beyond_error, compared
from sktransfer.training.batches import Rows
from sktransfer.training.device_memory import computing_within_memory
from sktransfer.training.first_head import untrained_features
from sktransfer.training.settings import TrainingSettings

# Pictures that are computed for the choice and not used by the fit, at most.
_EXTRA_PICTURES = 1000


@dataclass(frozen=True)
class ResizeChoice:
    """The choice, and its evidence.

    Parameters
    ----------
    resize : {"crop", "squash", "pad"}
    scores : mapping of str to Score, or None
        Of each candidate; None if there were too few rows to compare them.
    known : Known or None
        Activations of the drawn pictures, by the choice.
    """

    resize: str
    scores: Mapping[str, Score] | None = None
    known: Known | None = None


def choose_resize(
    pictures: LabelledPictures,
    one_pass: FrozenPass,
    stages: TrainableStages,
    settings: TrainingSettings,
    *,
    activations_are_used: bool,
) -> ResizeChoice:
    """Choose by the cross-validated log-likelihood of linear heads on some of the training rows.

    "crop" is the simplest candidate, and stays where no other one gains more than the standard
    error of the gain.

    Parameters
    ----------
    pictures : LabelledPictures
    one_pass : FrozenPass
        The pass of the fit, with any `resize`.
    stages : TrainableStages
        The stages after those of the pass; they stay as they are.
    settings : TrainingSettings
    activations_are_used : bool
        True if the fit trains on these activations, False if on augmented views.
    """
    preset, n_candidates = one_pass.preprocessing, len(RESIZES)
    assert isinstance(preset, Preprocessing)  # views are made of squares, later
    extra = n_candidates - 1 if activations_are_used else n_candidates
    sample = pictures.sample(_EXTRA_PICTURES // extra, settings.seed)
    images = sample.images
    folds = make_folds(sample.y, sample.groups, settings.seed)
    if not folds:
        return ResizeChoice("crop")
    # The engine that is worth its preparation for all passes together runs each of them.
    further = extra * len(images)
    comparing = replace(one_pass, further=further, may_map=n_candidates)
    settings = settings.for_a_solved_head(before_stages=bool(len(stages)))
    of_rows, activations = {}, {}
    for resize in RESIZES:
        if resize == "pad" and images.all_square():
            continue  # there is nothing to fill: it would give the pixels of "squash" again
        title = comparing.progress and f"{comparing.progress}: {resize}"
        with_it = replace(comparing, preprocessing=preset.resized(resize), progress=title)
        activations[resize] = with_it.collect(images)[0]
        with computing_within_memory(settings):
            rows = Rows.of(FixedViews([activations[resize]]), sample.y, sample.weights)
            features = untrained_features(settings, stages, rows)
            of_rows[resize] = log_likelihoods(settings, rows.with_X(features), folds)
    scores = compared(of_rows, counts_of(rows, settings.sampling), sample.groups)
    chosen = best_beyond_error(scores)
    return ResizeChoice(chosen, scores, sample.known(activations[chosen]))

"""The choice of `unfreeze_depth`: how many of the last stages are worth training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from sktransfer._common.warning import silenced, warn
from sktransfer.activations.progress import tell
from sktransfer.activations.results import Known
from sktransfer.activations.streaming import FrozenPass
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import DeviceMemoryError, TrainingDivergedError, TrainingWarning
from sktransfer.selection.cross_validation import counts_of, make_folds, unseen
from sktransfer.selection.pictures import LabelledPictures
from sktransfer.selection.scores import Score, compared, smallest_within_error
from sktransfer.training.batches import Rows
from sktransfer.training.calibration import as_evidence, best_temperature
from sktransfer.training.data import TrainingData
from sktransfer.training.device_memory import computing_within_memory
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.train import train

# Candidates are 0 to this depth. A third stage gained 0.3 +- 0.3 points of accuracy on 1,000 and
# 2,000 rows (docs/performance.md), which trials of a few hundred rows can't tell from noise.
DEEPEST = 2
# Trials train on two thirds of so many rows at most, and are judged on the other third. So they
# cost a small part of the fit of some thousand rows.
_ROWS = 500
_FOLDS = 3
# Each depth is tried twice. On eight sets of 150 to 250 rows, one trial could seldom tell a gain of
# 7 points of accuracy from noise, and three were no better than two. Shorter trials won't do: after
# four of ten epochs, stages have not yet learned enough to make up for their first steps.
_TRIALS = 2
# Of fewer rows, trials would train on a dozen and be judged by a handful.
_FEWEST_ROWS = 20


class Cut(NamedTuple):
    """The two parts of a network, by the depth at which it is cut.

    Parameters
    ----------
    frozen : callable
        From a depth to the stages that stay frozen.
    stages : callable
        From a depth to fresh copies of the stages that train.
    """

    frozen: Callable[[int], FrozenNetwork]
    stages: Callable[[int], TrainableStages]


@dataclass(frozen=True)
class DepthChoice:
    """The choice, and its evidence.

    Parameters
    ----------
    depth : int
    scores : mapping of int to Score, or None
        Of each depth that was tried; None if there were too few rows to compare them.
    known : Known or None
        Activations of the drawn pictures, before the stages that train.
    """

    depth: int
    scores: Mapping[int, Score] | None = None
    known: Known | None = None


def choose_depth(
    pictures: LabelledPictures,
    one_pass: FrozenPass,
    cut: Cut,
    deepest: int,
    settings: TrainingSettings,
) -> DepthChoice:
    """Choose by the log-likelihood of rows that did not train, in trials of each depth.

    The smallest depth stays whose score is within one standard error of the best one's. Depths are
    tried in order, and no deeper one after one that was worse than the one before it.

    Parameters
    ----------
    pictures : LabelledPictures
        They are taken as they are, without augmentation.
    one_pass : FrozenPass
        With any network. With a `cache`, each picture passes the network once for all depths.
    cut : Cut
    deepest : int
        The largest candidate.
    settings : TrainingSettings

    Raises
    ------
    KeyboardInterrupt
        If a trial is interrupted.
    """
    sample, activations = pictures.sample(_ROWS, settings.seed), {}
    groups = sample.groups
    folds = make_folds(sample.y, groups, settings.seed, _FOLDS)[:_TRIALS]
    if not folds or len(sample.rows) < _FEWEST_ROWS:
        return DepthChoice(0)
    # The deepest first: its activations are those of an earlier link, from which the other passes
    # go on.
    for depth in range(deepest, -1, -1):
        to_depth = replace(one_pass, network=cut.frozen(depth), may_map=deepest + 1)
        activations[depth], _ = to_depth.collect(sample.images)
    rows = Rows.of(FixedViews([activations[0]]), sample.y, sample.weights)
    held_out = np.concatenate([fold[1] for fold in folds])
    counts = counts_of(rows, settings.sampling)[held_out]
    among = None if groups is None else groups[held_out]
    of_rows: dict[int, np.ndarray] = {}
    for depth in range(deepest + 1):
        if settings.verbose:
            tell(f"Trying unfreeze_depth={depth} on {len(folds[0][0])} rows, {len(folds)} times")
        at_depth = rows.with_X(activations[depth])
        try:
            trials = [
                _tried(settings, cut.stages(depth), at_depth, groups, *fold) for fold in folds
            ]
        except (DeviceMemoryError, TrainingDivergedError) as error:
            if depth == 0:
                raise
            warn(
                f"unfreeze_depth='auto' leaves out depth {depth} and more, which can't train: "
                f"{error}",
                TrainingWarning,
            )
            break
        of_rows[depth] = np.concatenate(trials)
        if depth and counts @ of_rows[depth] < counts @ of_rows[depth - 1]:
            break
    chosen = smallest_within_error(of_rows, counts, among)
    return DepthChoice(chosen, compared(of_rows, counts, among), sample.known(activations[chosen]))


def _tried(
    settings: TrainingSettings,
    stages: TrainableStages,
    rows: Rows,
    groups: np.ndarray | None,
    learned: np.ndarray,
    held_out: np.ndarray,
) -> np.ndarray:
    """Log-likelihoods of the held-out rows, by a training on others that is thrown away.

    Scores are divided by the temperature that suits these rows best. Stages that have trained for
    a few dozen steps are less sure of their predictions than a solved head, however right they are.
    """
    settings, task = settings.for_a_trial(), settings.task
    with silenced():  # the training on all rows will warn where there is a reason
        net = train(settings, _trial_data(settings, stages, rows, groups, learned)).net
    if net.interrupted_:
        raise KeyboardInterrupt
    judged = rows.drawn(torch.from_numpy(held_out))
    with computing_within_memory(settings):
        scores = net.scores_of(judged).numpy()
    y, weights = judged.targets.y.numpy(), as_evidence(judged.targets.weights.numpy())
    temperature = best_temperature(task, scores, y, weights, scale=np.inf)
    found: np.ndarray = -task.log_losses(scores.astype(np.float64) / temperature, y)
    # As in `log_likelihoods`: chance would decide on classes that the net has never seen.
    found[unseen(rows.targets.y.numpy(), learned, held_out)] = -np.log(settings.n_classes)
    return found


def _trial_data(
    settings: TrainingSettings,
    stages: TrainableStages,
    rows: Rows,
    groups: np.ndarray | None,
    learned: np.ndarray,
) -> TrainingData:
    """The rows to train on; with early stopping, a fifth of them tells when to stop."""
    drawn = rows.drawn(torch.from_numpy(learned))
    if not settings.early_stopping:
        return TrainingData(stages, drawn)
    of_learned = None if groups is None else groups[learned]
    inner = make_folds(drawn.targets.y.numpy(), of_learned, settings.seed)
    if not inner:
        return TrainingData(stages, drawn, drawn)
    train_rows, stop_rows = (drawn.drawn(torch.from_numpy(part)) for part in inner[0])
    return TrainingData(stages, train_rows, stop_rows)

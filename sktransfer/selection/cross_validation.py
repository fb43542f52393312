"""Cross-validated scores of the linear head, one for each row."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.net import TransferNet
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solve_head import solve_head

_FOLDS = 5

Folds = list[tuple[np.ndarray, np.ndarray]]


def make_folds(y: np.ndarray, groups: np.ndarray | None, seed: int) -> Folds:
    """Positions to train on and to score, for each fold; none if the rows are too few.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, k)
        Codes, or an indicator of several labels.
    groups : ndarray of shape (n,) or None
        Rows of a group stay together, else a head would be scored on what it has nearly seen.
    seed : int
    """
    several = y.ndim > 1
    n = min(_FOLDS, len(y) if groups is None else len(np.unique(groups)))
    if not several:
        n = min(n, int(np.bincount(y).max()))
    if n < 2:
        return []
    if groups is None:
        kind = KFold if several else StratifiedKFold
    else:
        kind = GroupKFold if several else StratifiedGroupKFold
    with warnings.catch_warnings():
        # Some folds then lack the rarest classes, and their rows count as wrong for each candidate.
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = kind(n, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(y)), y, groups))


def row_scores(settings: TrainingSettings, rows: Rows, folds: Folds) -> np.ndarray:
    """The score of each row (n,), by a linear head that was solved on the other folds.

    Parameters
    ----------
    settings : TrainingSettings
    rows : Rows
        Rows of features.
    folds : list
        Of `make_folds`.

    Raises
    ------
    KeyboardInterrupt
        If solving is interrupted.
    """
    # The heads are thrown away: no validation, no checkpoints, no progress bars.
    quiet = replace(settings.for_the_head_alone(), early_stopping=False, verbose=0, piece=None)
    files = CheckpointFiles(None, str)
    scores = np.empty(len(rows))
    with warnings.catch_warnings():
        # If heads do not converge, that of all rows will warn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for learned, held_out in folds:
            net = solve_head(quiet, rows.drawn(torch.from_numpy(learned)), None, files)
            if net.interrupted_:
                raise KeyboardInterrupt
            scores[held_out] = _scored(net, rows.drawn(torch.from_numpy(held_out)))
    return scores


def _scored(net: TransferNet, rows: Rows) -> np.ndarray:
    right: np.ndarray = net.task.right(net.scores_of(rows), rows.targets.y.cpu()).numpy()
    return right.astype(float)


def row_weights(settings: TrainingSettings, rows: Rows) -> np.ndarray:
    """How much each row (n,) counts: as in the loss, and as often as `sampling` would draw it."""
    times = rows.sampler(settings.sampling).times().double()
    return (rows.targets.weights.cpu().double() * times).numpy()

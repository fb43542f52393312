"""Cross-validated likelihoods of the labels, one for each row, by linear heads."""

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
        # It says that some folds lack the rarest classes; `log_likelihoods` leaves their rows out.
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = kind(n, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(y)), y, groups))


def log_likelihoods(settings: TrainingSettings, rows: Rows, folds: Folds) -> np.ndarray:
    """The log-likelihood of each row's label (n,), by a head that was solved on the other folds.

    It tells more than the accuracy, which counts a narrow mistake like a clear one.

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
    found, y = np.empty(len(rows)), rows.targets.y.cpu().numpy()
    with warnings.catch_warnings():
        # If heads do not converge, that of all rows will warn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for learned, held_out in folds:
            net = solve_head(quiet, rows.drawn(torch.from_numpy(learned)), None, files)
            if net.interrupted_:
                raise KeyboardInterrupt
            found[held_out] = _of_rows(net, rows.drawn(torch.from_numpy(held_out)))
            # The likelihood of a class that the head has never seen is near 0, by chance more or
            # less near, and its logarithm would drown all others. So all candidates get the same.
            found[held_out[_unseen(y, learned, held_out)]] = -np.log(settings.n_classes)
    return found


def _unseen(y: np.ndarray, learned: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Which held out rows have a class that no other row has; none where labels are several."""
    if y.ndim > 1:
        return np.zeros(len(held_out), dtype=bool)
    return ~np.isin(y[held_out], y[learned])


def _of_rows(net: TransferNet, rows: Rows) -> np.ndarray:
    scores = net.scores_of(rows).numpy().astype(np.float64)
    losses: np.ndarray = net.task.log_losses(scores, rows.targets.y.cpu().numpy())
    return -losses

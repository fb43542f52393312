"""Cross-validated likelihoods of the labels, one for each row, by linear heads."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.special import softmax
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from sktransfer.selection.fold_heads import scores_by_fold
from sktransfer.training.batches import Rows
from sktransfer.training.losses import RowLoss, convex_loss
from sktransfer.training.pace import decay
from sktransfer.training.settings import TrainingSettings

_FOLDS = 5

Folds = list[tuple[np.ndarray, np.ndarray]]


def make_folds(
    y: np.ndarray, groups: np.ndarray | None, seed: int, at_most: int | None = None
) -> Folds:
    """Positions to train on and to score, for each fold; none if the rows are too few.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, k)
        Codes, or an indicator of several labels.
    groups : ndarray of shape (n,) or None
        Rows of a group stay together, else a head would be scored on what it has nearly seen.
    seed : int
    at_most : int, optional
        Number of folds, unless the rows are too few for so many; by default 5.
    """
    several = y.ndim > 1
    n = min(at_most or _FOLDS, len(y) if groups is None else len(np.unique(groups)))
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
        Their penalty and loss are those of the heads; a loss that is not convex is replaced as in
        `solve_head`. Hidden layers and dropout are left out.
    rows : Rows
        Rows of features, on the CPU.
    folds : list
        Of `make_folds`.
    """
    scores, y = _scores_of_folds(settings, rows, folds)
    found = np.empty(len(rows))
    for (learned, held_out), of_fold in zip(folds, scores, strict=True):
        found[held_out] = -settings.task.log_losses(of_fold[held_out], y[held_out])
        # The likelihood of a class that the head has never seen is near 0, by chance more or less
        # near, and its logarithm would drown all others. So all candidates get the same.
        found[held_out[unseen(y, learned, held_out)]] = -np.log(settings.n_classes)
    return found


def accuracies(settings: TrainingSettings, rows: Rows, folds: Folds) -> np.ndarray:
    """The share of right rows (n_folds,) of each fold, by a head that was solved on the others.

    A row whose class no other row has is a mistake, as it is for a classifier that was fitted on
    the others. Folds may overlap, and leave rows out. Parameters are those of `log_likelihoods`.
    """
    scores, y = _scores_of_folds(settings, rows, folds)
    found = []
    for (learned, held_out), of_fold in zip(folds, scores, strict=True):
        at, labels = torch.from_numpy(of_fold[held_out]), torch.from_numpy(y[held_out])
        right = settings.task.right(at, labels).numpy()
        found.append(np.mean(right & ~unseen(y, learned, held_out)))
    return np.array(found)


def probabilities(settings: TrainingSettings, rows: Rows, folds: Folds) -> np.ndarray:
    """Probabilities (n, n_classes) of all classes, by a head that was solved on the other folds.

    They are not calibrated. Parameters are those of `log_likelihoods`; each row is in one fold, and
    each class of the settings has a row.
    """
    scores, _ = _scores_of_folds(settings, rows, folds)
    found = np.empty(scores.shape[1:])
    for (_, held_out), of_fold in zip(folds, scores, strict=True):
        found[held_out] = softmax(of_fold[held_out], axis=1)
    return found


def _scores_of_folds(
    settings: TrainingSettings, rows: Rows, folds: Folds
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n_folds, n, n_classes) of all rows by the head of each fold, and their codes."""
    X, targets = rows[:]
    task, y, n_classes = settings.task, targets.y.numpy(), settings.n_classes
    # Classes that no row has would only take time, unless targets are spread over all classes.
    if y.ndim == 1 and not settings.label_smoothing:
        present, y = np.unique(y, return_inverse=True)
        n_classes = len(present)
    loss = RowLoss(
        convex_loss(settings.loss, task),
        task,
        label_smoothing=settings.label_smoothing,
        positive_weight=settings.positive_weight,
    )
    shares = torch.stack([_shares(rows, learned, settings.sampling) for learned, _ in folds])
    penalty = decay(settings.weight_decay)
    scores = scores_by_fold(X, torch.from_numpy(y), n_classes, shares, loss, penalty)
    return scores.numpy(), y


def _shares(rows: Rows, learned: np.ndarray, sampling: str | None) -> torch.Tensor:
    """The share of each row (n,) in the mean loss of a head: 0 of those that are held out."""
    weights = rows.drawn(torch.from_numpy(learned)).counted(sampling).targets.weights
    shares = torch.zeros(len(rows), dtype=torch.float64)
    # NaN where weights are so unequal that those of a whole fold round to 0: nothing is learned.
    shares[learned] = weights.double().nan_to_num() / len(learned)
    return shares


def counts_of(rows: Rows, sampling: str | None) -> np.ndarray:
    """What each row (n,) counts in a comparison: as in the loss, and as often as it is drawn."""
    counts: np.ndarray = rows.counted(sampling).targets.weights.numpy().astype(np.float64)
    return counts


def unseen(y: np.ndarray, learned: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Which held out rows have a class that no other row has; none where labels are several."""
    if y.ndim > 1:
        return np.zeros(len(held_out), dtype=bool)
    return ~np.isin(y[held_out], y[learned])

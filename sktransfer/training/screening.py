"""Whether fine-tuning has something to mend: the mistakes of the head alone, cross-validated."""

from collections.abc import Callable

import torch
from sklearn.model_selection import KFold

from sktransfer.training.batches import Rows
from sktransfer.training.net import TransferNet

_FOLDS = 5


def cross_validated_mistakes(
    rows: Rows, solve: Callable[[Rows], TransferNet], *, sampling: str | None, seed: int
) -> tuple[float, float]:
    """How many rows are wrong by heads that were solved on others, and how many are enough.

    That is their square root: an accuracy measured on n rows has a standard error of at most
    ``0.5 / sqrt(n)``, and who mends fewer gains less than two of those.

    Parameters
    ----------
    rows : Rows
        Features.
    solve : callable
        From rows to a net.
    sampling : str or None
        Where classes are sampled to be as many, each counts as much here too.
    seed : int
        Of the folds.

    Returns
    -------
    mistakes : float
        Rows count by their weights, which have a mean of 1. Counting ends where it is enough.
    enough : float
    """
    weights = (rows.targets.weights.cpu() * rows.sampler(sampling).times()).numpy().astype(float)
    weights /= weights.mean()
    enough = float(len(rows)) ** 0.5
    if len(rows) < 2:  # nobody learned, so nobody can be asked
        return enough, enough
    mistakes = 0.0
    folds = KFold(min(_FOLDS, len(rows)), shuffle=True, random_state=seed)
    for learned, held_out in folds.split(weights):
        net = solve(rows.drawn(torch.from_numpy(learned)))
        if net.interrupted_:
            raise KeyboardInterrupt
        others = rows.drawn(torch.from_numpy(held_out))
        wrong = ~net.task.right(net.scores_of(others), others.targets.y.cpu()).numpy()
        mistakes += float(wrong @ weights[held_out])
        if mistakes >= enough:
            break
    return mistakes, enough

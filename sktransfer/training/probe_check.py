"""Check if fine-tuning has anything to gain: cross-validated mistakes of a solved head."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.net import TransferNet
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solve_head import solve_head

_FOLDS = 5


class Mistakes(NamedTuple):
    """Number of wrong training rows, and the number from which on fine-tuning may help.

    Parameters
    ----------
    n : float
        Counted by the weights of the rows, which have a mean of 1, up to `enough`.
    enough : float
        The square root of the number of rows: an accuracy measured on n rows has a standard error
        of at most ``0.5 / sqrt(n)``, and correcting fewer gains less than two of those.
    """

    n: float
    enough: float

    @property
    def too_few(self) -> bool:
        """Correcting all of them would be within noise."""
        return self.n < self.enough


def probe_mistakes(settings: TrainingSettings, rows: Rows) -> Mistakes | None:
    """Cross-validated mistakes of heads solved by `settings`; None where they decide nothing.

    Parameters
    ----------
    settings : TrainingSettings
        See `TrainingSettings.for_the_head_alone`.
    rows : Rows
        Rows of features.

    Raises
    ------
    KeyboardInterrupt
        If solving is interrupted.
    """
    # A teacher's probabilities say more than labels, and mistakes tell of labels alone.
    if settings.fine_tune == "always" or rows.targets.teacher is not None:
        return None
    # The heads of the folds are thrown away: no validation, checkpoints or progress bars.
    quiet = replace(settings, early_stopping=False, verbose=0)
    files = CheckpointFiles(None, str)
    with warnings.catch_warnings():
        # If heads don't converge, that of all rows has warned already.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_validated_mistakes(
            rows,
            lambda part: solve_head(quiet, part, None, files),
            sampling=settings.sampling,
            seed=settings.seed,
        )


def cross_validated_mistakes(
    rows: Rows, solve: Callable[[Rows], TransferNet], *, sampling: str | None, seed: int
) -> Mistakes:
    """Count the rows that are classified wrongly by heads that were solved on other rows.

    Parameters
    ----------
    rows : Rows
        Rows of features.
    solve : callable
        From rows to a net.
    sampling : str or None
        Sampling that makes classes equally frequent makes them count equally here.
    seed : int
        Seed of the folds.
    """
    weights = (rows.targets.weights.cpu() * rows.sampler(sampling).times()).numpy().astype(float)
    weights /= weights.mean()
    enough = float(len(rows)) ** 0.5
    if len(rows) < 2:  # too few to cross-validate: no evidence against fine-tuning
        return Mistakes(enough, enough)
    n = 0.0
    folds = KFold(min(_FOLDS, len(rows)), shuffle=True, random_state=seed)
    for learned, held_out in folds.split(weights):
        net = solve(rows.drawn(torch.from_numpy(learned)))
        if net.interrupted_:
            raise KeyboardInterrupt
        others = rows.drawn(torch.from_numpy(held_out))
        wrong = ~net.task.right(net.scores_of(others), others.targets.y.cpu()).numpy()
        n += float(wrong @ weights[held_out])
        if n >= enough:  # the answer is known, and each further fold costs a solution
            break
    return Mistakes(n, enough)

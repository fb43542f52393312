"""The phases of training: their names, and what the nets of all of them have in common."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from skorch.callbacks import BatchScoring, Callback, EpochScoring
from skorch.helper import predefined_split

from sktransfer.training.batches import Rows
from sktransfer.training.callbacks import EpochBar, KeepBest
from sktransfer.training.checkpoints import Checkpoint, CheckpointFiles
from sktransfer.training.data import History
from sktransfer.training.losses import Loss
from sktransfer.training.net import TransferNet
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solver import converged

NamedCallbacks = list[tuple[str, Callback]]


class Phase(Enum):
    """One training of one net; the values are those of ``history_`` and of checkpoint files."""

    PROBE = "probe"  # a linear head alone, solved by L-BFGS
    HEAD = "head"  # a head alone, by gradient descent
    FINE_TUNE = "fine-tune"  # head and unfrozen stages together, by gradient descent

    @property
    def title(self) -> str:
        """Of the progress bar."""
        return _TITLES[self]


_TITLES = {
    Phase.PROBE: "Solving the head",
    Phase.HEAD: "Training the head",
    Phase.FINE_TUNE: "Fine-tuning",
}


def callbacks_of(
    settings: TrainingSettings, phase: Phase, files: CheckpointFiles, *, continues: bool
) -> NamedCallbacks:
    """Callbacks of every phase, those of the user among them.

    Parameters
    ----------
    settings : TrainingSettings
    phase : Phase
    files : CheckpointFiles
    continues : bool
        What the phase begins with had learned something, so that early stopping may keep it.
    """
    callbacks: list[Any] = [("bar", EpochBar(phase.title))] if settings.verbose else []
    callbacks += settings.callbacks
    # skorch calls them in order, and one that stops training keeps those after it from seeing
    # the last epoch: callbacks that stop come after those that only watch.
    if settings.early_stopping:
        keep_best = KeepBest(settings.n_iter_no_change, continues=continues)
        callbacks.append(("early_stopping", keep_best))
    if phase is Phase.PROBE:
        callbacks.append(("converged", converged()))
    path = files.path(phase.value)
    # The last of all, since it restores what the others have set up.
    return callbacks if path is None else [*callbacks, ("checkpoint", Checkpoint(path))]


def net_options(
    settings: TrainingSettings, loss: Loss, validation: Rows | None, max_epochs: int
) -> dict[str, Any]:
    """Options of the net of every phase.

    Parameters
    ----------
    settings : TrainingSettings
    loss : Loss
        The one of this phase, which need not be that of the settings.
    validation : Rows or None
    max_epochs : int
    """
    return {
        # Options rather than a loss that is built already: skorch would pickle that one as it is,
        # on the GPU, and the pickle could not be opened without one.
        "criterion__loss": loss,
        "criterion__task": settings.task,
        "criterion__label_smoothing": settings.label_smoothing,
        "criterion__positive_weight": settings.positive_weight,
        "criterion__distill_weight": settings.distill_weight,
        "criterion__distill_temperature": settings.distill_temperature,
        "max_epochs": max_epochs,
        "device": settings.device,
        "seed": settings.seed,
        "verbose": int(settings.verbose > 1),
        "train_split": None if validation is None else predefined_split(validation),
    }


def records(net: TransferNet, phase: Phase) -> History:
    """The history of a phase, of plain numbers, without what skorch keeps of each batch."""
    keys = ["train_loss", "lr", "valid_loss", "valid_score", *_names_of_scores(net.callbacks_)]
    return [
        {
            "phase": phase.value,
            "epoch": epoch["epoch"],
            **{key: float(epoch[key]) for key in keys if key in epoch},
        }
        for epoch in net.history
        if "train_loss" in epoch  # an interrupted epoch has none
    ]


def _names_of_scores(callbacks: Sequence[tuple[str, Callback]]) -> list[str]:
    scoring = (EpochScoring, BatchScoring)
    return [callback.name_ for _, callback in callbacks if isinstance(callback, scoring)]

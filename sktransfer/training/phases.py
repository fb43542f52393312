"""The phases of training: their names, and the options and callbacks that all of them share."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from skorch.callbacks import Callback
from skorch.helper import predefined_split

from sktransfer.training.batches import Rows
from sktransfer.training.callbacks import SCORING, EpochBar, KeepBest
from sktransfer.training.checkpoints import Checkpoint, CheckpointFiles
from sktransfer.training.data import History
from sktransfer.training.lbfgs import converged
from sktransfer.training.losses import Loss
from sktransfer.training.net import TransferNet
from sktransfer.training.settings import TrainingSettings

NamedCallbacks = list[tuple[str, Callback]]


class Phase(Enum):
    """The training of one net, by its name in ``history_`` and in checkpoint files."""

    PROBE = "probe"  # a linear head alone, solved by L-BFGS
    HEAD = "head"  # a head alone, by gradient descent
    FINE_TUNE = "fine-tune"  # head and unfrozen stages together, by gradient descent

    @property
    def title(self) -> str:
        """Title of the progress bar."""
        return _TITLES[self]


_TITLES = {
    Phase.PROBE: "Solving the head",
    Phase.HEAD: "Training the head",
    Phase.FINE_TUNE: "Fine-tuning",
}


def callbacks_of(
    settings: TrainingSettings, phase: Phase, files: CheckpointFiles, *, continues: bool
) -> NamedCallbacks:
    """Callbacks that all phases share, with those of the user among them.

    Parameters
    ----------
    settings : TrainingSettings
    phase : Phase
    files : CheckpointFiles
    continues : bool
        The phase continues from learned weights, which early stopping may keep.
    """
    callbacks: list[Any] = [("bar", EpochBar(phase.title))] if settings.verbose else []
    callbacks += settings.callbacks
    # skorch calls them in order, and one that stops training hides the last epoch from those after
    # it: so the ones that stop come after the user's, which may only watch.
    if settings.early_stopping:
        keep_best = KeepBest(settings.n_iter_no_change, continues=continues)
        callbacks.append(("early_stopping", keep_best))
    if phase is Phase.PROBE:
        callbacks.append(("converged", converged()))
    path = files.path(phase.value)
    # Last of all: it restores the state of the others after they have reset it.
    return callbacks if path is None else [*callbacks, ("checkpoint", Checkpoint(path))]


def net_options(
    settings: TrainingSettings, loss: Loss, validation: Rows | None, max_epochs: int
) -> dict[str, Any]:
    """Options that the nets of all phases share.

    Parameters
    ----------
    settings : TrainingSettings
    loss : Loss
        The loss of this phase, which may be another than that of the settings.
    validation : Rows or None
    max_epochs : int
    """
    return {
        # Options, not a loss that is built already: skorch would pickle that one with its tensors
        # on the GPU, and the pickle could not be opened on a machine without one.
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
    """The history of a phase in plain numbers, without skorch's entries for each batch."""
    keys = ["train_loss", "lr", "valid_loss", "valid_score", *_names_of_scores(net.callbacks_)]
    found = [
        {
            "phase": phase.value,
            "epoch": epoch["epoch"],
            **{key: float(epoch[key]) for key in keys if key in epoch},
        }
        for epoch in net.history
        if "train_loss" in epoch  # an interrupted epoch has none
    ]
    # Ctrl-C may also come while an epoch is recorded; the rate is among the last things.
    is_whole = not found or {"lr", *found[0]} <= found[-1].keys()
    return found if is_whole else found[:-1]


def _names_of_scores(callbacks: Sequence[tuple[str, Callback]]) -> list[str]:
    return [callback.name_ for _, callback in callbacks if isinstance(callback, SCORING)]

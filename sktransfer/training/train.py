"""The order of phases in training: a head first, then head and unfrozen stages together."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from sktransfer._common.warning import warn
from sktransfer.activations.views import FixedViews
from sktransfer.exceptions import (
    ForgettingWarning,
    InterruptedWarning,
    TrainingWarning,
)
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles, training_identity
from sktransfer.training.data import History, Trained, TrainingData
from sktransfer.training.descend import descend
from sktransfer.training.device_memory import computing_within_memory
from sktransfer.training.first_head import first_head
from sktransfer.training.holding import held
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.optimizers import state_on_cpu
from sktransfer.training.pace import learning_rate
from sktransfer.training.phases import Phase, records
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solve_head import is_convex, solve_head

# Fine-tuning may lose this share of what the head alone had learned, measured by the loss, without
# a warning. The head's loss itself would be no measure: on easy rows it is near 0, and any other
# loss is many times as large.
_LOST = 0.25


def train(settings: TrainingSettings, data: TrainingData) -> Trained:
    """Train a head, and the unfrozen stages with it.

    Linear probing before fine-tuning keeps the good features that a random head's first
    gradients would distort: Kumar et al., "Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution", ICLR 2022, section 3.4.

    Parameters
    ----------
    settings : TrainingSettings
    data : TrainingData

    Returns
    -------
    Trained

    Raises
    ------
    TrainingDivergedError
        If the loss becomes NaN or infinite.
    DeviceMemoryError
        If the device can't hold a batch.

    Warns
    -----
    InterruptedWarning
        If training was interrupted.
    TrainingWarning
        If no epoch was better than the head alone; as ShortTrainingWarning or
        ForgettingWarning, if training was too short, or if fine-tuning lost more than it
        learned.
    """
    # Before the rows move to a GPU, since their digest is computed in the CPU's memory.
    files = CheckpointFiles(settings.checkpoint_dir, partial(training_identity, settings, data))
    data = data.on(settings.device)
    with computing_within_memory(settings):
        trained = _in_phases(settings, data, files)
    if trained.net.interrupted_:
        # The checkpoints stay: the same fit, called again, continues after the last whole epoch.
        warn(
            f"Training was interrupted after {len(trained.history)} whole epochs. The classifier "
            "keeps what it had learned by then.",
            InterruptedWarning,
        )
    else:
        files.remove()
    return trained


def _in_phases(settings: TrainingSettings, data: TrainingData, files: CheckpointFiles) -> Trained:
    """Solve the head, if the problem is convex; else train a first head, and then everything."""
    if is_convex(settings, data):
        return _solved(settings, data, files)
    first = first_head(settings, data, files)
    module = TransferModule(data.stages, first.head)
    if first.net is not None and first.net.interrupted_:
        return _finished(settings, first.net, module, first.history)
    phase = Phase.FINE_TUNE if len(data.stages) else Phase.HEAD
    rows, validation = data.rows, data.validation
    rows, hold = held(settings, data.stages, rows, first)
    net = descend(
        *(settings, module, rows, validation, phase, files), continues=first.learned, hold=hold
    )
    if first.history and net.kept_beginning_:
        warn(
            "No epoch lowered the validation loss below that of the head alone: early stopping "
            "keeps the head, with untouched stages. Try a smaller lr, or unfreeze_depth=0.",
            TrainingWarning,
        )
    elif first.history and data.stages.fixed_statistics:
        _warn_if_forgotten(settings, first.history[-1], net, rows)
    return _finished(settings, net, module, first.history + records(net, phase))


def _solved(settings: TrainingSettings, data: TrainingData, files: CheckpointFiles) -> Trained:
    """Solve the convex problem, starting from an earlier head if there is one."""
    begin_like: Any = None if data.earlier_head is None else data.earlier_head[-1]
    net = solve_head(settings, data.rows, data.validation, files, begin_like)
    history = records(net, Phase.PROBE)
    module = TransferModule(data.stages, nn.Sequential(net.module_.float()))
    trained = _finished(settings, net, module, history)
    return trained._replace(optimizer_state=None)  # means nothing to the next optimizer


def _finished(
    settings: TrainingSettings, net: TransferNet, module: TransferModule, history: History
) -> Trained:
    """The result of a training, with a net that is ready for prediction and pickles."""
    state = state_on_cpu(net.optimizer_.state_dict()["state"])
    # A solved head comes from a net for float64, on another device and with larger batches.
    return Trained(net.ready(module, settings.device, settings.batch_size), history, state)


def _warn_if_forgotten(
    settings: TrainingSettings, alone: Mapping[str, Any], net: TransferNet, rows: Rows
) -> None:
    """Warn if head and stages together fit the rows worse than the head alone did.

    Parameters
    ----------
    settings : TrainingSettings
    alone : mapping
        The last record of the head alone.
    net : TransferNet
        After fine-tuning.
    rows : Rows
    """
    after = _comparable_loss(settings, net, rows)
    if after is None:
        return
    before, chance = alone["train_loss"], net.chance_loss(rows)
    if before < chance and after - before > _LOST * (chance - before):
        warn(
            f"Fine-tuning ended at a training loss of {after:.3g}, far above the {before:.3g} "
            "of the head alone: the unfrozen stages lost more than they learned. Try a smaller "
            f"lr, now {learning_rate(settings.lr):.3g}, or "
            "gradient_clipping=1.0; find_lr suggests a rate.",
            ForgettingWarning,
        )


def _comparable_loss(settings: TrainingSettings, net: TransferNet, rows: Rows) -> float | None:
    """The training loss after fine-tuning, if it can be compared with that of the head alone.

    It can't where training made rows harder, by mixing, dropout or new views, nor where the head
    was solved by another loss because this one is not convex.
    """
    fixed = isinstance(rows.views, FixedViews)
    harder = settings.mixup or settings.cutmix or settings.dropout or not fixed
    losses = [record["train_loss"] for record in records(net, Phase.FINE_TUNE)]
    if harder or not losses or not settings.loss.convex:
        return None
    if settings.sampling is not None:  # epochs have losses of the rows that they happened to draw
        return net.loss_of(rows.fixed().counted(settings.sampling))
    # Early stopping keeps the best epoch, which need not be the last.
    return min(losses) if settings.early_stopping else losses[-1]

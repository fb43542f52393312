"""The convex problem: when training is one, and its solution by L-BFGS."""

from sktransfer._common.devices import with_float64
from sktransfer.activations.views import FixedViews
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import TrainingData
from sktransfer.training.head import NormalisedLinear
from sktransfer.training.lbfgs import solve
from sktransfer.training.losses import convex_loss
from sktransfer.training.net import TransferNet
from sktransfer.training.pace import decay, epochs
from sktransfer.training.phases import Phase, callbacks_of, net_options
from sktransfer.training.settings import TrainingSettings


def is_convex(settings: TrainingSettings, data: TrainingData) -> bool:
    """Return True if L-BFGS does all the training: a linear head, fixed features, a convex loss.

    Such a problem has one best solution, which needs no learning rate. Another optimizer trains
    it only if it is given as `optimizer`.
    """
    linear = not settings.hidden_layer_sizes and not settings.dropout
    # Features that change from epoch to epoch, by new views or mixing, give another problem in
    # each of them.
    fixed = (
        isinstance(data.rows.views, FixedViews)
        and not len(data.stages)
        and not settings.mixup
        and not settings.cutmix
    )
    # ema_decay averages over many small steps; L-BFGS takes few large ones.
    convex = settings.loss.convex and settings.ema_decay is None
    by_solver = settings.optimizer in ("auto", "lbfgs")
    return linear and fixed and convex and by_solver and not _of_unknown_weight(settings, data)


def _of_unknown_weight(settings: TrainingSettings, data: TrainingData) -> bool:
    """Return True if it is unknown how firmly the earlier head should hold the solution of a piece.

    A solved head holds it by the number of its rows (`NormalisedLinear.n_rows`), which a head
    trained by gradient descent does not count.
    """
    if settings.piece is None or data.earlier_head is None:
        return False
    return not isinstance(data.earlier_head[-1], NormalisedLinear)


def solve_head(
    settings: TrainingSettings,
    rows: Rows,
    validation: Rows | None,
    files: CheckpointFiles,
    begin_like: NormalisedLinear | None = None,
) -> TransferNet:
    """Solve a linear head by L-BFGS, with the loss of the settings or a convex one in its place.

    Parameters
    ----------
    settings : TrainingSettings
    rows, validation : Rows
        Rows of features; `validation` may be None.
    files : CheckpointFiles
    begin_like : NormalisedLinear or Linear, optional
        The last layer of an earlier head, to start from.
    """
    piece = settings.piece
    # The single epoch of a piece is meant for gradient descent; one of L-BFGS may end early.
    max_epochs = epochs(settings.max_epochs if piece is None else "auto")
    loss = convex_loss(settings.loss, settings.task)
    continues = begin_like is not None
    return solve(
        rows.fixed().counted(settings.sampling),
        settings.n_classes,
        weight_decay=decay(settings.weight_decay),
        begin_like=begin_like,
        piece_weight=None if piece is None else piece.weight,
        callbacks=callbacks_of(settings, Phase.PROBE, files, continues=continues),
        **net_options(settings, loss, validation, max_epochs)
        | {"device": with_float64(settings.device)},
    )

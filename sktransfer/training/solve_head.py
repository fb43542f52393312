"""The convex problem: when training is one, and its solution by L-BFGS."""

from sktransfer._common.devices import with_float64
from sktransfer.activations.views import FixedViews
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import TrainingData
from sktransfer.training.head import NormalisedLinear
from sktransfer.training.losses import convex_loss
from sktransfer.training.net import TransferNet
from sktransfer.training.pace import epochs
from sktransfer.training.phases import Phase, callbacks_of, net_options
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.solver import solve


def is_convex(settings: TrainingSettings, data: TrainingData) -> bool:
    """Whether there is one best solution: a linear head on frozen features, and a convex loss.

    Then L-BFGS does all the training, unless another optimizer is asked for by name.
    """
    linear = not settings.hidden_layer_sizes and not settings.dropout
    # Features that differ from epoch to epoch, as new views and mixed rows do, make no problem
    # that could be solved once.
    fixed = (
        isinstance(data.rows.views, FixedViews)
        and not len(data.stages)
        and not settings.mixup
        and not settings.cutmix
    )
    # An average of weights is one over the steps of an optimizer, which L-BFGS has not.
    convex = settings.loss.convex and settings.ema_decay is None
    by_solver = settings.optimizer in ("auto", "lbfgs")
    return linear and fixed and convex and by_solver and not _of_unknown_weight(settings, data)


def _of_unknown_weight(settings: TrainingSettings, data: TrainingData) -> bool:
    """Whether a piece is to be solved near a head of which nobody knows how many rows it learned.

    Only a solved head counts its rows (`NormalisedLinear.n_rows`).
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
    """Solve a linear head, by the loss of the settings or the convex one in its place.

    Parameters
    ----------
    settings : TrainingSettings
    rows, validation : Rows
        Features; `validation` may be None.
    files : CheckpointFiles
    begin_like : NormalisedLinear or Linear, optional
        The head of an earlier training.
    """
    piece = settings.piece
    # The one epoch of a piece is one of gradient descent: a piece is solved to the end.
    max_epochs = epochs(settings.max_epochs if piece is None else "auto")
    loss = convex_loss(settings.loss, settings.task)
    continues = begin_like is not None
    return solve(
        rows.fixed().counted(settings.sampling),
        settings.n_classes,
        weight_decay=settings.weight_decay,
        begin_like=begin_like,
        piece_weight=None if piece is None else piece.weight,
        callbacks=callbacks_of(settings, Phase.PROBE, files, continues=continues),
        **net_options(settings, loss, validation, max_epochs)
        | {"device": with_float64(settings.device)},
    )

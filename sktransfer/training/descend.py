"""Stochastic gradient descent on a head, and on the unfrozen stages with it."""

from sktransfer.activations.views import FixedViews
from sktransfer.training.batches import RowBatches, Rows
from sktransfer.training.callbacks import GradualUnfreezing, first_epochs
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.head import Scaled
from sktransfer.training.mixing import Mixing
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.optimizers import learning_rates, optimizer_options
from sktransfer.training.pace import decay, epochs, learning_rate, warn_if_short
from sktransfer.training.phases import NamedCallbacks, Phase, callbacks_of, net_options
from sktransfer.training.schedules import schedule_callback
from sktransfer.training.settings import TrainingSettings


def descend(
    settings: TrainingSettings,
    module: TransferModule,
    rows: Rows,
    validation: Rows | None,
    phase: Phase,
    files: CheckpointFiles,
    *,
    continues: bool = False,
    hold: float = 0.0,
) -> TransferNet:
    """Train a module in place by gradient descent; warn if its loss still falls fast at the end.

    Parameters
    ----------
    settings : TrainingSettings
    module : TransferModule
    rows, validation : Rows
        Input of the module; `validation` may be None.
    phase : Phase
    files : CheckpointFiles
    continues : bool, default=False
        The module holds learned weights, which early stopping may keep.
    hold : float, default=0.0
        Factor of the squared distance of features to `Targets.start`.
    """
    rows, mean_weight = _with_mean_1_as_drawn(rows, settings.sampling)
    n_batches = len(RowBatches(rows, settings.batch_size, rows.sampler(settings.sampling)))
    lr, max_epochs = _pace(settings, module, rows, n_batches)
    rates = learning_rates(_depths_that_learn(module), lr, settings.lr_decay)
    schedule = schedule_callback(
        settings.schedule,
        n_steps=max_epochs * n_batches,
        n_epoch=n_batches,
        # In the order of the parameter groups, of which the head is the last.
        rates=[*(options["lr"] for _, options in rates), lr],
        monitor="train_loss" if validation is None else "valid_loss",
    )
    first: NamedCallbacks = [] if schedule is None else [("schedule", schedule)]
    piece = settings.piece
    net = TransferNet(
        module,
        **optimizer_options(settings.optimizer, decay(settings.weight_decay)),
        optimizer__param_groups=rates,
        lr=lr,
        batch_size=settings.batch_size,
        sampling=settings.sampling,
        mixing=_mixing(settings),
        gradient_clipping=settings.gradient_clipping,
        ema_decay=settings.ema_decay,
        hold=hold,
        precision=settings.precision,
        begin_state=None if piece is None else piece.optimizer_state,
        # Rows are scaled to a mean weight of 1. In a piece the loss gets the mean back, so that
        # a row counts the same whatever piece it is in.
        loss_scale=1.0 if piece is None else piece.weight * mean_weight,
        callbacks=[
            *first,
            *_unfreezing(settings, module, max_epochs),
            *callbacks_of(settings, phase, files, continues=continues),
        ],
        **net_options(settings, settings.loss, validation, max_epochs),
    )
    net.trained_on(rows)
    losses = [epoch["train_loss"] for epoch in net.history if "train_loss" in epoch]
    if len(losses) == max_epochs:  # fewer if it was stopped, early or by hand
        warn_if_short(losses, net.chance_loss(rows))
    return net


def _with_mean_1_as_drawn(rows: Rows, sampling: str | None) -> tuple[Rows, float]:
    """Rows scaled to a mean weight of 1 over an epoch, and the mean that they had.

    It is not the mean over the rows: sampling draws some of them more often than others.
    """
    weights = rows.targets.weights
    times = rows.sampler(sampling).times().to(weights)
    mean = (weights @ times / times.sum()).item()
    return rows.with_weights(weights / mean), mean


def _pace(
    settings: TrainingSettings, module: TransferModule, rows: Rows, n_batches: int
) -> tuple[float, int]:
    """The head's learning rate, and the number of epochs."""
    # `random_head` puts `Scaled` first where features stay as they are.
    at_random = isinstance(module.head[0], Scaled) and not len(module.stages)
    # An epoch of new views costs a pass over the pictures, and many would take long.
    cheap = at_random and isinstance(rows.views, FixedViews)
    return (
        learning_rate(settings.lr, at_random=at_random),
        epochs(settings.max_epochs, n_batches if cheap else None),
    )


def _depths_that_learn(module: TransferModule) -> dict[str, int]:
    """Depth of each stage that has parameters: torch refuses a group of none."""
    return {
        name: depth
        for name, depth in module.stages.depths.items()
        if any(True for _ in module.stages.get_submodule(name).parameters())
    }


def _unfreezing(
    settings: TrainingSettings, module: TransferModule, max_epochs: int
) -> NamedCallbacks:
    if settings.gradual_unfreezing is False:
        return []
    begins = first_epochs(
        settings.gradual_unfreezing,
        module.stages.depths,
        max_epochs,
        head_first=settings.head_init == "random",
    )
    return [("unfreezing", GradualUnfreezing(begins))]


def _mixing(settings: TrainingSettings) -> Mixing | None:
    if not settings.mixup and not settings.cutmix:
        return None
    return Mixing(settings.mixup, settings.cutmix, settings.n_classes)

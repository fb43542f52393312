"""The user's skorch callbacks: which of them can work here."""

from collections.abc import Iterator, Sequence
from typing import Any

from skorch.callbacks import (
    Callback,
    EpochScoring,
    GradientNormClipping,
    InputShapeSetter,
    LRScheduler,
    ParamMapper,
)

from sktransfer.exceptions import ParameterError
from sktransfer.training.callbacks import SCORING

# Keys of the history that are taken.
_RECORDED = {
    "epoch",
    "dur",
    "batches",
    "train_loss",
    "train_objective",
    "valid_loss",
    "valid_score",
    "lr",
}
# Names of our own callbacks; skorch wants all names to be unique.
NAMES = {
    *("epoch_timer", "train_loss", "valid_loss", "valid_score", "lr", "print_log", "objective"),
    *("schedule", "unfreezing", "bar", "early_stopping", "converged", "checkpoint"),
}


def check_callbacks(
    callbacks: Sequence[Any] | None,
    *,
    held_out: bool,
    mixes: bool,
    solved: bool,
    schedule: Any,
) -> None:
    """Raise for the first callback that would fail, have no effect, or do harm.

    Parameters
    ----------
    callbacks : list of skorch callbacks, their classes, or pairs of a name and a callback
    held_out : bool
        There are rows to validate on.
    mixes : bool
        mixup or cutmix mixes the rows of a batch.
    solved : bool
        L-BFGS solves the last phase.
    schedule : object
        Another schedule of the learning rate, or None.

    Raises
    ------
    ParameterError
    """
    names = []
    for given in callbacks or ():
        if isinstance(given, tuple) and len(given) == 2:
            names.append(given[0])
        callback = _callback(given)
        for reason in _reasons(callback, held_out, mixes, solved, schedule):
            raise ParameterError(f"callbacks holds {type(callback).__name__}, which {reason}")
    for name in names:
        if name in NAMES or names.count(name) > 1:
            raise ParameterError(
                f"callbacks gives the name {name!r} to one of them, but another callback has it. "
                "Give another name, or none."
            )


def _callback(given: Any) -> Callback:
    """The callback that skorch would make of an entry of the list."""
    callback = given[1] if isinstance(given, tuple) and len(given) == 2 else given
    # As skorch does, but before any picture is read.
    if isinstance(callback, type) and issubclass(callback, Callback):
        try:
            return callback()
        except TypeError as error:
            raise ParameterError(
                f"callbacks holds the class {callback.__name__}, which can't be called without "
                f"arguments ({error}). Give an instance."
            ) from error
    if isinstance(callback, Callback):
        return callback
    raise ParameterError(
        "callbacks must be skorch callbacks, or pairs of a name and a callback; got "
        f"{type(given).__name__}: {given!r:.80}."
    )


def _reasons(
    callback: Callback, held_out: bool, mixes: bool, solved: bool, schedule: Any
) -> Iterator[str]:
    """Reasons why a callback can't be used, each with its remedy."""
    scores = isinstance(callback, SCORING)
    # Only scoring callbacks have on_train; the others are not limited to validation rows.
    in_training = getattr(callback, "on_train", True)
    monitor = getattr(callback, "monitor", None)
    watches = isinstance(monitor, str) and monitor.startswith("valid_")
    if scores and getattr(callback, "name", None) in _RECORDED:
        yield (f"would overwrite {callback.name!r} in history_. Give it another name=.")
    if not held_out and (watches or not in_training):
        yield (
            "needs rows that are not trained on, but there are none. Set validation_fraction=0.1, "
            "give validation_data to fit, or let it use training rows: monitor='train_loss', or "
            "on_train=True."
        )
    if mixes and scores and in_training:
        yield (
            "scores predictions on training rows, but rows mixed by mixup or cutmix have no single "
            "label. Use on_train=False, with validation_fraction=0.1, or no mixing."
        )
    uncached = isinstance(callback, EpochScoring) and not callback.use_caching
    if uncached and not callable(callback.scoring):
        yield (
            "needs its cache to find the labels. Use use_caching=True, or a function of net, rows "
            "and None as scoring."
        )
    if isinstance(callback, LRScheduler) and not solved and schedule is not None:
        yield (
            f"changes the learning rate, and so does schedule={schedule!r}. Set schedule=None, or "
            "give the class of torch.optim.lr_scheduler as schedule."
        )
    if isinstance(callback, LRScheduler | GradientNormClipping | ParamMapper) and solved:
        yield (
            "changes steps of gradient descent, but L-BFGS solves this problem without them. "
            "Set optimizer='adamw', or leave it out."
        )
    if isinstance(callback, InputShapeSetter):
        yield "rebuilds the network, which is made by the classifier here. Leave it out."

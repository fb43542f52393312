"""skorch's callbacks that users bring: which of them can do here what they are made for."""

from collections.abc import Iterator, Sequence
from typing import Any

from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    GradientNormClipping,
    InputShapeSetter,
    LRScheduler,
    ParamMapper,
)

from sktransfer.exceptions import ParameterError

# What the records of an epoch hold already.
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
# What the callbacks of our nets are called, which skorch wants to be unique.
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
    """Raise for the first callback that would fail, or do nothing, or do harm.

    Parameters
    ----------
    callbacks : list of skorch callbacks, of their classes, or of pairs of a name and one
    held_out : bool
        Whether there are rows to validate on.
    mixes : bool
        Whether mixup or cutmix mixes the rows of a batch.
    solved : bool
        Whether L-BFGS solves the last phase.
    schedule : object
        What else changes the learning rate, or None.

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
    """One callback as skorch would make it of what is given."""
    callback = given[1] if isinstance(given, tuple) and len(given) == 2 else given
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
        "callbacks must be skorch callbacks, or pairs of a name and one; got "
        f"{type(given).__name__}: {given!r:.80}."
    )


def _reasons(
    callback: Callback, held_out: bool, mixes: bool, solved: bool, schedule: Any
) -> Iterator[str]:
    """Why a callback can't be used, with what mends it."""
    scores = isinstance(callback, EpochScoring | BatchScoring)
    in_training = getattr(callback, "on_train", True)
    monitor = getattr(callback, "monitor", None)
    watches = isinstance(monitor, str) and monitor.startswith("valid_")
    if scores and getattr(callback, "name", None) in _RECORDED:
        yield (
            f"would write over {callback.name!r} in history_, which is recorded already. Give it "
            "another name=."
        )
    if not held_out and (watches or not in_training):
        yield (
            "needs rows that are not trained on, but there are none. Set validation_fraction=0.1, "
            "give validation_data to fit, or let it watch the training: monitor='train_loss', or "
            "on_train=True."
        )
    if mixes and scores and in_training:
        yield (
            "scores what is predicted in training, but mixup and cutmix make rows there that have "
            "no label. Use on_train=False, with validation_fraction=0.1, or no mixing."
        )
    uncached = isinstance(callback, EpochScoring) and not callback.use_caching
    if uncached and not callable(callback.scoring):
        yield (
            "finds no labels to compare with without its cache. Use use_caching=True, or a "
            "function of net, rows and None as scoring."
        )
    if isinstance(callback, LRScheduler) and not solved and schedule is not None:
        yield (
            f"changes the learning rate, and so does schedule={schedule!r}. Set schedule=None, or "
            "give the class of torch.optim.lr_scheduler as schedule."
        )
    if isinstance(callback, LRScheduler | GradientNormClipping | ParamMapper) and solved:
        yield (
            "interferes with gradient descent, but L-BFGS solves this problem by other means. "
            "Set optimizer='adamw', or leave it out."
        )
    if isinstance(callback, InputShapeSetter):
        yield "builds the network anew, which is not the user's here. Leave it out."

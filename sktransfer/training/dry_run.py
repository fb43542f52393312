"""A dry run of the user's torch classes on tiny tensors, before any picture is read."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sktransfer.exceptions import ParameterError
from sktransfer.training.losses import RowLoss, Targets, as_loss
from sktransfer.training.optimizers import optimizer_options
from sktransfer.training.schedules import schedule_callback


def dry_run(
    *,
    loss: str | Callable[..., Any],
    optimizer: str | Callable[..., Any],
    schedule: str | Callable[..., Any] | None,
    checkpoint_dir: str | Path | None,
    lr: float,
    weight_decay: float,
    n_classes: int,
    multilabel: bool,
) -> None:
    """Raise if a class given by the user, or the folder for checkpoints, can't be used.

    Parameters
    ----------
    loss, optimizer, schedule, checkpoint_dir, weight_decay
        Parameters of the classifier.
    lr : float
    n_classes : int
    multilabel : bool
        A picture may have several labels.

    Raises
    ------
    ParameterError
        By the name of the parameter.
    """
    if callable(loss):
        with _naming(f"loss={loss!r}", "a class of torch.nn that compares scores with labels"):
            # A batch of n_classes rows would hide that scores are compared with the wrong axis.
            n = n_classes + 1
            y = torch.zeros(n, n_classes) if multilabel else torch.zeros(n, dtype=torch.long)
            record = as_loss(loss)
            row_loss = RowLoss(record, record.task(multilabel=multilabel))
            row_loss(torch.zeros(n, n_classes), Targets(y, torch.ones(n)))
    # A schedule is tried on the user's optimizer, or on this one in place of ours.
    built: Any = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    if callable(optimizer):
        with _naming(f"optimizer={optimizer!r}", "a class of torch.optim"):
            options = optimizer_options(optimizer, weight_decay)
            decay = {"weight_decay": weight_decay} if "optimizer__weight_decay" in options else {}
            weight = nn.Parameter(torch.zeros(1))
            weight.grad = torch.ones(1)
            built = optimizer([weight], lr=lr, **decay)
            built.step()  # SparseAdam, for example, refuses gradients that are not sparse
    if callable(schedule):
        with _naming(f"schedule={schedule!r}", "a class of torch.optim.lr_scheduler"):
            schedule_callback(schedule, n_steps=1, n_epoch=1, rates=[lr], monitor="train_loss")
            schedule(built)
    if checkpoint_dir is not None:
        _check_folder(Path(checkpoint_dir))


@contextlib.contextmanager
def _naming(what: str, expected: str) -> Iterator[None]:
    """Turn whatever goes wrong in a class of the user's into an error that names the parameter."""
    try:
        yield
    except ParameterError:
        raise
    except Exception as error:
        raise ParameterError(
            f"{what} can't be used: it must be a name or {expected}, its other arguments given by "
            f"functools.partial ({type(error).__name__}: {error})."
        ) from error


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"checkpoint_dir={str(folder)!r} is not a folder and can't be created "
            f"({type(error).__name__}). Give a folder that can be written to."
        ) from error
    # mkdir says nothing of a folder that exists and is read-only.
    if not os.access(folder, os.W_OK):
        raise ParameterError(
            f"checkpoint_dir={str(folder)!r} can't be written to. Give another folder."
        )

"""Stored activations, cut into batches without touching single rows in Python."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sktransfer.activations.views import FixedViews, Views
from sktransfer.exceptions import ParameterError
from sktransfer.training.losses import Targets
from sktransfer.training.sampling import Sampler

# From a generator to the rows of an epoch, in the order in which they are trained on.
Draw = Callable[[torch.Generator], Tensor]


class Rows(Dataset):  # type: ignore[type-arg]
    """Activations with their targets.

    Parameters
    ----------
    X : Tensor of shape (m, ...), or Views of such
        May be a mapped file: only the rows of a batch are read from it.
    y : Tensor of shape (n,) int64, or (n, k) float, optional
        Class codes, or an indicator of several labels. Zeros if left out, as they are when
        skorch predicts.
    weights : Tensor of shape (n,), float32, optional
        Ones if left out.
    teacher : Tensor of shape (n, k), optional
        What a teacher gives each class; see `Targets`.
    which : Tensor of shape (n,), int64, optional
        The rows of X that these are; all of them if left out.
    """

    def __init__(
        self,
        X: Tensor | Views,
        y: Tensor | None = None,
        weights: Tensor | None = None,
        teacher: Tensor | None = None,
        which: Tensor | None = None,
    ) -> None:
        self.views: Views = FixedViews([X]) if isinstance(X, Tensor) else X
        n = len(self.views) if which is None else len(which)
        y = torch.zeros(n, dtype=torch.long) if y is None else y
        self.targets = Targets(y, torch.ones(n) if weights is None else weights, teacher)
        self.which = which

    @classmethod
    def of(
        cls,
        views: Views,
        y: np.ndarray,
        weights: np.ndarray,
        teacher: np.ndarray | None = None,
        which: np.ndarray | None = None,
    ) -> "Rows":
        """Rows from arrays; those of activations and of targets that `which` names.

        Rows of weight 0 are absent: they would fill batches and take part in mixing and in
        BatchNorm. The weights of the others are scaled to a mean of 1, so that the learning
        rate keeps its meaning.
        """
        which = np.arange(len(weights)) if which is None else which
        taken = which[weights[which] > 0]
        if not len(taken):
            raise ParameterError(
                "The rows to train on, or those to validate on, all have a weight of 0. Give some "
                "of them a sample_weight, or split in another way."
            )
        weights = weights[taken] / weights[taken].mean()
        return cls(
            views,
            torch.from_numpy(y[taken]),
            torch.from_numpy(weights).float(),
            None if teacher is None else torch.from_numpy(teacher[taken]).float(),
            None if len(taken) == len(views) else torch.from_numpy(taken),
        )

    def __len__(self) -> int:
        return len(self.targets.y)

    @property
    def device(self) -> torch.device:
        """Where activations and targets lie: always on the same one."""
        return self.targets.y.device

    def __getitem__(self, rows: Any) -> tuple[Tensor, Targets]:
        """Rows of the first view."""
        return self.batch(self.views(0), rows)

    def batch(self, X: Tensor, rows: Any) -> tuple[Tensor, Targets]:
        """Some rows of one view, with their targets."""
        return X[rows] if self.which is None else X[self.which[rows]], self.targets.taken(rows)

    def sampler(self, sampling: str | None) -> Sampler:
        """Draws the rows of an epoch; see `Sampler`."""
        return Sampler(sampling, self.targets.y)

    def fixed(self) -> "Rows":
        """The same without epochs: all that is known, or the first of the views that are not."""
        return Rows(FixedViews(list(self.views.known())), *self.targets, self.which)

    def drawn(self, order: Tensor) -> "Rows":
        """Some of the rows, perhaps several times, in a new order."""
        order = order.to(self.device)
        which = order if self.which is None else self.which[order]
        return Rows(self.views, *self.targets.taken(order), which)

    def with_X(self, X: Tensor | Views) -> "Rows":
        """The same targets for other activations, one a row."""
        return Rows(X, *self.targets)

    def weighed(self, weights: Tensor) -> "Rows":
        """The same rows with other weights (n,)."""
        y, _, teacher = self.targets
        return Rows(self.views, y, weights, teacher, self.which)

    def counted(self, sampling: str | None) -> "Rows":
        """The same rows, weighted by how often an epoch would draw them on average.

        For what knows no epochs. The weights have a mean of 1, in a fold too, so that
        weight_decay keeps its meaning.
        """
        weights = self.targets.weights
        weights = weights * self.sampler(sampling).times().to(weights)
        return self.weighed(weights / weights.mean())

    def digest(self) -> bytes:
        """SHA-256 of activations and targets."""
        sha = sha256(self.views.digest())
        for tensor in (*self.targets, self.which):
            if tensor is not None:
                sha.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                sha.update(tensor.contiguous().numpy().data)
        return sha.digest()

    def on(self, device: str) -> "Rows":
        """The same rows on a device, if they take at most half of its free memory."""
        views = self.views
        if not device.startswith("cuda") or not isinstance(views, FixedViews):
            return self
        if 2 * sum(tensor.nbytes for tensor in views.tensors) > torch.cuda.mem_get_info(device)[0]:
            return self
        which = None if self.which is None else self.which.to(device)
        return Rows(views.to(device), *self.targets.to(device), which)


class RowBatches:
    """Batches of `Rows`, in order or drawn anew in each epoch.

    A last batch of one row joins the one before it: BatchNorm, where it trains, has no
    statistics of a single row.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    draw : Draw, optional
        Which rows an epoch trains on, in which order; without it all, in their order.
    generator : torch.Generator, optional
        For `draw`.
    epoch : int, default=0
        Whose view of the pictures it is.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        draw: Draw | None = None,
        generator: torch.Generator | None = None,
        epoch: int = 0,
    ) -> None:
        self.rows = rows
        self.epoch = epoch
        self._order = draw(generator or torch.Generator()) if draw is not None else None
        self._bounds = _bounds(len(rows) if self._order is None else len(self._order), batch_size)

    def __len__(self) -> int:
        return len(self._bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Targets]]:
        X = self.rows.views(self.epoch)
        # Drawn on the CPU, so that a seed gives the same order on every device.
        order = None if self._order is None else self._order.to(self.rows.device)
        for start, stop in self._bounds:
            rows = slice(start, stop) if order is None else order[start:stop]
            yield self.rows.batch(X, rows)


def all_batches(rows: Rows, batch_size: int) -> Iterator[tuple[Tensor, Targets]]:
    """Every view of every row, in order: what a solver that knows no epochs works on."""
    for X in rows.views.known():
        for start, stop in _bounds(len(rows), batch_size):
            yield rows.batch(X, slice(start, stop))


def _bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))

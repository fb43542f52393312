"""Stored activations in batches, cut without a Python loop over rows."""

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

# From a generator to the row numbers of an epoch, in the order of training.
Draw = Callable[[torch.Generator], Tensor]


class Rows(Dataset):  # type: ignore[type-arg]
    """Activations with their targets.

    Parameters
    ----------
    X : Tensor of shape (m, ...), or Views of such
        May be a memory-mapped file, of which only the rows of a batch are read.
    y : Tensor of shape (n,) int64, or (n, k) float, optional
        Class codes, or an indicator of several labels. Zeros by default: skorch makes a data set
        of X alone when it predicts.
    weights : Tensor of shape (n,), float32, optional
        Ones by default.
    teacher : Tensor of shape (n, k), optional
        A teacher's probabilities; see `Targets`.
    start : Tensor of shape (n, n_features), optional
        Features before training; see `Targets`.
    which : Tensor of shape (n,), int64, optional
        Position in X of each row; by default all of X. With it a split costs no copy of X.
    """

    def __init__(
        self,
        X: Tensor | Views,
        y: Tensor | None = None,
        weights: Tensor | None = None,
        teacher: Tensor | None = None,
        start: Tensor | None = None,
        which: Tensor | None = None,
    ) -> None:
        self.views: Views = FixedViews([X]) if isinstance(X, Tensor) else X
        n = len(self.views) if which is None else len(which)
        y = torch.zeros(n, dtype=torch.long) if y is None else y
        self.targets = Targets(y, torch.ones(n) if weights is None else weights, teacher, start)
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
        """Rows from arrays: those at the positions `which`, of activations and targets alike.

        Rows of weight 0 are left out: they would fill batches and take part in mixing and in
        BatchNorm. The weights of the others are scaled to a mean of 1, so that the learning
        rate keeps its meaning.

        Raises
        ------
        ParameterError
            If all rows have a weight of 0.
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
            # Without an index where all activations are used: batches in order are then no copies.
            which=None if len(taken) == len(views) else torch.from_numpy(taken),
        )

    def __len__(self) -> int:
        return len(self.targets.y)

    @property
    def device(self) -> torch.device:
        """The device of the targets, and of the activations if they are fixed."""
        return self.targets.y.device

    def __getitem__(self, rows: Any) -> tuple[Tensor, Targets]:
        """Rows of the first view, as skorch asks for them."""
        return self.batch(self.views(0), rows)

    def batch(self, X: Tensor, rows: Any) -> tuple[Tensor, Targets]:
        """Activations and targets of some rows, by the activations `X` of one view."""
        return X[rows] if self.which is None else X[self.which[rows]], self.targets.taken(rows)

    def sampler(self, sampling: str | None) -> Sampler:
        """A function that draws the rows of an epoch; see `Sampler`."""
        return Sampler(sampling, self.targets.y)

    def fixed(self) -> "Rows":
        """The same rows without epochs: of all fixed views, or of the first fresh one."""
        return Rows(FixedViews(list(self.views.known())), *self.targets, self.which)

    def drawn(self, order: Tensor) -> "Rows":
        """The rows at some positions, which may repeat, in that order."""
        order = order.to(self.device)
        which = order if self.which is None else self.which[order]
        return Rows(self.views, *self.targets.taken(order), which)

    def with_X(self, X: Tensor | Views) -> "Rows":
        """The same targets with other activations (n, ...)."""
        return Rows(X, *self.targets)

    def with_weights(self, weights: Tensor) -> "Rows":
        """The same rows with other weights (n,)."""
        return Rows(self.views, *self.targets._replace(weights=weights), self.which)

    def held_near(self, start: Tensor) -> "Rows":
        """The same rows with the features (n, n_features) near which training holds them."""
        return Rows(self.views, *self.targets._replace(start=start), self.which)

    def counted(self, sampling: str | None) -> "Rows":
        """The same rows, weighted by how often an epoch would draw each on average.

        It replaces sampling where there are no epochs, as for L-BFGS. The weights have a mean of
        1, in the folds of a cross-validation too, so that weight_decay keeps its meaning.
        """
        weights = self.targets.weights
        weights = weights * self.sampler(sampling).times().to(weights)
        return self.with_weights(weights / weights.mean())

    def digest(self) -> bytes:
        """SHA-256 of activations and targets."""
        sha = sha256(self.views.digest())
        for tensor in (*self.targets, self.which):
            if tensor is not None:
                sha.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                sha.update(tensor.contiguous().numpy().data)
        return sha.digest()

    def on(self, device: str) -> "Rows":
        """The same rows on a GPU, if they take at most half of its free memory.

        From there a batch costs no transfer. The other half is for weights, gradients and the
        activations of a batch. On a Mac, CPU and GPU share their memory.
        """
        views = self.views
        if not device.startswith("cuda") or not isinstance(views, FixedViews):
            return self
        if 2 * sum(tensor.nbytes for tensor in views.tensors) > torch.cuda.mem_get_info(device)[0]:
            return self
        which = None if self.which is None else self.which.to(device)
        return Rows(views.to(device), *self.targets.to(device), which)


class RowBatches:
    """The batches of one epoch.

    A last batch of a single row is joined to the one before: BatchNorm, where it trains, can't
    compute statistics of one row.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    draw : Draw, optional
        Draws the rows of the epoch; by default all rows, in their order.
    generator : torch.Generator, optional
        For `draw`.
    epoch : int, default=0
        Number of the epoch, which decides on the view of the pictures.
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
    """Batches of every fixed view of every row, in order, for work without epochs."""
    for X in rows.views.known():
        for start, stop in _bounds(len(rows), batch_size):
            yield rows.batch(X, slice(start, stop))


def _bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))

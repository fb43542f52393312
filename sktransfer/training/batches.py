"""Rows held in memory, cut into batches without touching single rows in Python."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class Rows(Dataset):  # type: ignore[type-arg]
    """Activations with their targets and weights.

    Parameters
    ----------
    X : Tensor of shape (n, ...)
    y : Tensor of shape (n,), int64, optional
        Zeros if left out, as they are when skorch predicts.
    weights : Tensor of shape (n,), float32, optional
        Ones if left out.
    """

    def __init__(self, X: Tensor, y: Tensor | None = None, weights: Tensor | None = None) -> None:
        self.X = X
        self.y = torch.zeros(len(X), dtype=torch.long) if y is None else y
        self.weights = torch.ones(len(X)) if weights is None else weights

    @classmethod
    def of(cls, X: Tensor, codes: np.ndarray, weights: np.ndarray, which: np.ndarray) -> "Rows":
        """Rows `which` of activations, class codes and weights, the latter with a mean of 1."""
        rows = torch.from_numpy(which)
        kept = weights[which]
        return cls(
            X if len(which) == len(X) else X[rows],
            torch.from_numpy(codes[which]),
            torch.from_numpy(kept / kept.mean()).float(),
        )

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, rows: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self.X[rows], (self.y[rows], self.weights[rows])

    def with_X(self, X: Tensor) -> "Rows":
        """The same targets and weights for other activations."""
        return Rows(X, self.y, self.weights)


class RowBatches:
    """Batches of `Rows`, in order or shuffled anew on each pass.

    A last batch of one row joins the one before it: BatchNorm, where it trains, has no
    statistics of a single row.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    generator : torch.Generator, optional
        Shuffles; without one the order is kept.
    """

    def __init__(
        self, rows: Rows, batch_size: int, generator: torch.Generator | None = None
    ) -> None:
        self.rows = rows
        self.generator = generator
        n = len(rows)
        starts = list(range(0, n, batch_size))
        if len(starts) > 1 and n - starts[-1] == 1:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], n], strict=True))

    def __len__(self) -> int:
        return len(self._bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
        if self.generator is None:
            yield from (self.rows[start:stop] for start, stop in self._bounds)
            return
        order = torch.randperm(len(self.rows), generator=self.generator)
        yield from (self.rows[order[start:stop]] for start, stop in self._bounds)

"""Stored activations, cut into batches without touching single rows in Python."""

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
    X : Tensor of shape (m, ...)
        May be a mapped file: only the rows of a batch are read from it.
    y : Tensor of shape (n,), int64, optional
        Zeros if left out, as they are when skorch predicts.
    weights : Tensor of shape (n,), float32, optional
        Ones if left out.
    which : Tensor of shape (n,), int64, optional
        The rows of X that these are; all of them if left out.
    """

    def __init__(
        self,
        X: Tensor,
        y: Tensor | None = None,
        weights: Tensor | None = None,
        which: Tensor | None = None,
    ) -> None:
        n = len(X) if which is None else len(which)
        self._X = X
        self._which = which
        self.y = torch.zeros(n, dtype=torch.long) if y is None else y
        self.weights = torch.ones(n) if weights is None else weights

    @classmethod
    def of(cls, X: Tensor, codes: np.ndarray, weights: np.ndarray, which: np.ndarray) -> "Rows":
        """Rows `which` of activations, class codes and weights, the latter with a mean of 1."""
        kept = weights[which]
        return cls(
            X,
            torch.from_numpy(codes[which]),
            torch.from_numpy(kept / kept.mean()).float(),
            None if len(which) == len(X) else torch.from_numpy(which),
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        X = self._X[rows] if self._which is None else self._X[self._which[rows]]
        return X, (self.y[rows], self.weights[rows])

    def with_X(self, X: Tensor) -> "Rows":
        """The same targets and weights for other activations, one a row."""
        return Rows(X, self.y, self.weights)

    def on(self, device: str) -> "Rows":
        """The same rows on a device, if they take at most half of its free memory."""
        n_bytes = self._X.nbytes
        if not device.startswith("cuda") or 2 * n_bytes > torch.cuda.mem_get_info(device)[0]:
            return self
        which = None if self._which is None else self._which.to(device)
        return Rows(self._X.to(device), self.y.to(device), self.weights.to(device), which)


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
        # Drawn on the CPU, so that a seed gives the same order on every device.
        order = torch.randperm(len(self.rows), generator=self.generator).to(self.rows.y.device)
        yield from (self.rows[order[start:stop]] for start, stop in self._bounds)

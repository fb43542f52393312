"""The values of a pass, collected batch by batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sktransfer.activations.memory import allocate
from sktransfer.exceptions import WeightsError
from sktransfer.images.sources import ImageSource

_COPIED = 16 * 2**20  # bytes of values that are copied at once for repeated rows


class Known(NamedTuple):
    """Values that an earlier pass of the same settings computed.

    Parameters
    ----------
    rows : sequence of int, in order
    values : Tensor of shape (len(rows), ...)
    """

    rows: Sequence[int]
    values: Tensor


class Results:
    """The values of each row, and the rows whose pictures could not be read.

    Parameters
    ----------
    source : ImageSource
        Names the rows in errors.
    may_map : int
        Use a temporary file for the values where so many sets of this size are too large for
        memory; 0 for never.
    on_rows : callable
        Called with the number of rows filled, each time.
    """

    def __init__(
        self, source: ImageSource, *, may_map: int, on_rows: Callable[[int], object]
    ) -> None:
        self._source = source
        self._may_map = may_map
        self._on_rows = on_rows
        self._values: Tensor | None = None
        self.unreadable: list[int] = []

    def put(self, rows: Sequence[int], values: Tensor, unreadable: Sequence[int] = ()) -> None:
        """Fill rows with values of shape (len(rows), ...), on the CPU.

        Rows that are `unreadable` are filled with NaN, or 0 where values are integers.

        Raises
        ------
        WeightsError
            If the values of a readable row are NaN or infinite.
        """
        if self._values is None:  # a list of batches, joined at the end, would need twice the room
            shape = (len(self._source), *values.shape[1:])
            self._values = allocate(shape, values.dtype, may_map=self._may_map)
        if unreadable:
            values = values.clone()  # the store may be given the same tensor
            values[[rows.index(row) for row in unreadable]] = 0
        self._check_finite(rows, values)
        self._values[_as_index(rows)] = values
        if values.is_floating_point():
            self._values[list(unreadable)] = float("nan")
        self.unreadable += unreadable
        self._on_rows(len(rows))

    def repeat(self, repeated: Sequence[tuple[int, int]]) -> None:
        """Fill the first row of each pair with the values of the second."""
        # A few at a time: values may be mapped because memory has no room for them.
        n = max(1, _COPIED // max(1, self.values[0].nbytes))
        for start in range(0, len(repeated), n):
            rows, originals = (list(r) for r in zip(*repeated[start : start + n], strict=True))
            self.values[rows] = self.values[originals]
            self._on_rows(len(rows))
        unreadable = set(self.unreadable)
        self.unreadable += [row for row, original in repeated if original in unreadable]
        self.unreadable.sort()

    @property
    def values(self) -> Tensor:
        """All values, of shape (n, ...)."""
        assert self._values is not None  # an ImageSource is never empty
        return self._values

    def _check_finite(self, rows: Sequence[int], values: Tensor) -> None:
        # A sum is not finite if a term is not, and costs no memory; only then look closer.
        if not values.is_floating_point() or torch.isfinite(values.sum()):
            return
        bad = ~torch.isfinite(values.flatten(1)).all(dim=1)
        if bad.any():
            row = rows[int(bad.int().argmax())]
            raise WeightsError(
                f"The backbone's output for {self._source.describe(row)} is NaN or infinite. The "
                "weights are incomplete or damaged, or do not fit this preprocessing: choose other "
                "weights=."
            )


def _as_index(rows: Sequence[int]) -> slice | list[int]:
    """The rows as an index: a slice where they are consecutive, which is faster to fill."""
    if rows[-1] - rows[0] + 1 == len(rows):  # enough to know, as the rows of a batch are sorted
        return slice(rows[0], rows[-1] + 1)
    return list(rows)

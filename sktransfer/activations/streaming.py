"""One pass over the pictures: read, compute, hand on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sktransfer.activations.engine import TorchEngine
from sktransfer.exceptions import WeightsError
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import ImageSource


@dataclass(frozen=True)
class Pass:
    """How pictures go through a frozen network.

    Parameters
    ----------
    network : Module
        Frozen; from uint8 pixels (n, 3, h, w) to activations.
    preprocessing : Preprocessing
    device : str
    batch_size : int
        Pictures a batch.
    n_threads : int
        Threads that read pictures.
    skip_unreadable : bool
        Go on when a picture can't be read, and say which those were.
    progress : str, optional
        Title of a progress bar; no bar without one.
    """

    network: nn.Module
    preprocessing: Preprocessing
    device: str
    batch_size: int
    n_threads: int
    skip_unreadable: bool = False
    progress: str | None = None

    def stream(self, source: ImageSource) -> Iterator[tuple[slice, Tensor, list[int]]]:
        """Yield rows, their activations on the device, and the rows that were unreadable."""
        engine = TorchEngine(self.network, self.device)
        batches = read_batches(
            source,
            self.preprocessing,
            batch_size=self.batch_size,
            n_threads=self.n_threads,
            skip_unreadable=self.skip_unreadable,
        )
        with tqdm(
            total=len(source), desc=self.progress, unit="img", disable=self.progress is None
        ) as bar:
            for batch in batches:
                yield batch.rows, engine(batch.pixels), batch.unreadable
                bar.update(batch.rows.stop - batch.rows.start)

    def collect(
        self, source: ImageSource, then: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, list[int]]:
        """All activations in memory, and the rows that could not be read.

        Parameters
        ----------
        source : ImageSource
        then : callable, optional
            Applied to each batch on the device before it is kept.

        Returns
        -------
        activations : Tensor of shape (n, ...)
            On the CPU; float32, or uint8 where pixels are handed on. NaN (0 for
            pixels) in the rows that could not be read.
        unreadable : list of int

        Raises
        ------
        WeightsError
            If a picture's activations are NaN or infinite.
        """
        kept: Tensor | None = None
        all_unreadable: list[int] = []
        for rows, output, unreadable in self.stream(source):
            values = (output if then is None else then(output)).cpu()
            if kept is None:  # allocated once: the pass never holds the features twice
                kept = torch.empty((len(source), *values.shape[1:]), dtype=values.dtype)
            kept[rows] = values
            kept[unreadable] = 0
            _check_finite(kept[rows], source, rows)
            if values.is_floating_point():
                kept[unreadable] = float("nan")
            all_unreadable += unreadable
        assert kept is not None  # an ImageSource is never empty
        return kept, all_unreadable


def _check_finite(values: Tensor, source: ImageSource, rows: slice) -> None:
    # A sum is not finite if a term is not, and costs no memory; only then look closer.
    if not values.is_floating_point() or torch.isfinite(values.sum()):
        return
    bad = ~torch.isfinite(values.flatten(1)).all(dim=1)
    if bad.any():
        row = rows.start + int(np.argmax(bad.numpy()))
        raise WeightsError(
            f"The backbone's output for {source.describe(row)} is NaN or infinite. The weights are "
            "incomplete or damaged, or do not fit this preprocessing: choose other weights=."
        )

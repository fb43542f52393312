"""Activations of augmented pictures, which are decoded once whatever the number of views."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from sktransfer._common.identity import described
from sktransfer._common.threads import reading_threads
from sktransfer.activations.memory import allocate
from sktransfer.activations.streaming import FrozenPass, Then
from sktransfer.activations.views import FixedViews, FreshViews, Views
from sktransfer.images.augmentation import AugmentedView, Transform
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import ImageSource


def decode(source: ImageSource, one_pass: FrozenPass) -> np.ndarray:
    """All pictures as the network would see them.

    A pass through an empty network would give them too, but with the channels in front,
    which every view would have to put last again, and the store would fill with pixels.

    Returns
    -------
    ndarray of shape (n, size, size, 3), uint8
        In memory, or mapped where that is too small.
    """
    size = one_pass.preprocessing.crop_size
    pixels: np.ndarray = allocate((len(source), size, size, 3), torch.uint8, may_map=1).numpy()
    rows = range(len(source))
    batches = (rows[i : i + one_pass.batch_size] for i in rows[:: one_pass.batch_size])
    with reading_threads(one_pass.n_jobs) as n_threads:
        for batch in read_batches(source, one_pass.preprocessing, batches, n_threads=n_threads):
            pixels[batch.rows[0] : batch.rows[-1] + 1] = batch.pixels
    return pixels


@dataclass(frozen=True)
class Augmented:
    """Views of decoded pictures, and what a frozen network makes of them.

    Parameters
    ----------
    pixels : ndarray of shape (n, size, size, 3), uint8
        As `decode` gives them.
    one_pass : FrozenPass
    augment : str or callable
    seed : int
    keep : bool
        Whether the views are worth keeping in the cache: the seed will be met again.
    """

    pixels: np.ndarray
    one_pass: FrozenPass
    augment: str | Transform
    seed: int
    keep: bool = False

    def views(self, n: int | None, rows: np.ndarray) -> Views:
        """Some pictures: `n` views of them that take turns, or a new one each epoch for None."""
        if n is not None:
            return FixedViews([self.activations(number, rows, of=n) for number in range(n)])
        return FreshViews(lambda number: self.activations(number, rows), len(rows), self.identity)

    def activations(
        self,
        number: int | None,
        rows: np.ndarray | None = None,
        then: Then | None = None,
        of: int = 1,
    ) -> Tensor:
        """Activations of one view, or of the pictures as they are.

        Parameters
        ----------
        number : int or None
        rows : ndarray of int, optional
            The pictures; all of them if left out.
        then : callable, optional
            Applied to each batch, as in a `FrozenPass`.
        of : int
            Number of views that are held at the same time.
        """
        augment = None if number is None else self.augment
        view = AugmentedView(augment, self.pixels.shape[1], self.seed, number or 0)
        # What a transform of the user's does can't be told from its name.
        cache = self.one_pass.cache if isinstance(augment, str | None) and self.keep else None
        pictures = [self.pixels[row] for row in (range(len(self.pixels)) if rows is None else rows)]
        of_view = replace(self.one_pass, preprocessing=view, cache=cache, may_map=of)
        activations, _ = of_view.collect(ImageSource(pictures), then)
        return activations

    def identity(self) -> bytes:
        """SHA-256 of what the activations of all views depend on, but for the arithmetic."""
        sha = sha256(self.one_pass.network.digests(described([self.augment, self.seed]))[-1])
        sha.update(np.ascontiguousarray(self.pixels).data)
        return sha.digest()

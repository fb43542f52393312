"""Activations of augmented pictures. Each picture is decoded once, for any number of views."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from sktransfer._common.identity import stable_repr
from sktransfer._common.threads import reading_threads
from sktransfer.activations.memory import allocate
from sktransfer.activations.streaming import FrozenPass, Then
from sktransfer.activations.views import FixedViews, FreshViews, Views
from sktransfer.images.augmentation import AugmentedView, Transform, check_augment
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import ImageSource


def decode(source: ImageSource, one_pass: FrozenPass) -> np.ndarray:
    """Decode all pictures, at the size of the network's input.

    A pass through a network without links would give the pixels too, but channels-first, which
    every view would have to undo, and it would fill the store with pixels.

    Returns
    -------
    ndarray of shape (n, size, size, c), uint8
        In memory, or in a mapped file where memory is too small.
    """
    size = one_pass.preprocessing.crop_size
    shape = (len(source), size, size, source.channels)
    pixels: np.ndarray = allocate(shape, torch.uint8, may_map=1).numpy()
    rows = range(len(source))
    batches = (rows[i : i + one_pass.batch_size] for i in rows[:: one_pass.batch_size])
    with reading_threads(one_pass.n_jobs) as n_threads:
        for batch in read_batches(source, one_pass.preprocessing, batches, n_threads=n_threads):
            pixels[batch.rows[0] : batch.rows[-1] + 1] = batch.pixels
    return pixels


@dataclass(frozen=True)
class Augmented:
    """Augmented views of decoded pictures, and their activations behind a frozen network.

    Parameters
    ----------
    pixels : ndarray of shape (n, size, size, c), uint8
        As `decode` returns them.
    one_pass : FrozenPass
    augment : str or callable
    seed : int
    keep : bool
        Whether to keep the views in the cache. It saves time if the same seed is used again.
    """

    pixels: np.ndarray
    one_pass: FrozenPass
    augment: str | Transform
    seed: int
    keep: bool = False

    @classmethod
    def of(
        cls,
        source: ImageSource,
        one_pass: FrozenPass,
        augment: str | Transform,
        seed: int,
        *,
        keep: bool,
    ) -> "Augmented":
        """Views of the pictures of a source, decoded as `one_pass` says.

        Raises
        ------
        ParameterError
            If `augment` changes colours, and the pictures have other channels than those of RGB.
        """
        check_augment(augment, source.channels)
        return cls(decode(source, one_pass), one_pass, augment, seed, keep)

    def views(self, n: int | None, rows: np.ndarray) -> Views:
        """Activations of some pictures: of `n` views, used in turn, or of a new one per epoch.

        Parameters
        ----------
        n : int or None
            None for a new view in each epoch.
        rows : ndarray of int
        """
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
        """Activations of one view, or of the pictures without augmentation.

        Parameters
        ----------
        number : int or None
            Of the view; None for the pictures without augmentation.
        rows : ndarray of int, optional
            Rows of the pictures; by default all.
        then : callable, optional
            Applied to each batch, as in a `FrozenPass`.
        of : int
            Number of views that are in memory at the same time.
        """
        augment = None if number is None else self.augment
        view = AugmentedView(augment, self.pixels.shape[1], self.seed, number or 0)
        # Keys of the store name the augmentation, and a user's transform has no name that tells
        # what it does.
        cache = self.one_pass.cache if isinstance(augment, str | None) and self.keep else None
        pictures = [self.pixels[row] for row in (range(len(self.pixels)) if rows is None else rows)]
        of_view = replace(self.one_pass, preprocessing=view, cache=cache, may_map=of)
        source = ImageSource(pictures, channels=self.pixels.shape[3])
        activations, _ = of_view.collect(source, then)
        return activations

    def identity(self) -> bytes:
        """SHA-256 of all that activations of the views depend on, but device and precision."""
        own = self.one_pass.choice.own_arithmetic
        views = stable_repr([self.augment, self.seed, *([own] if own else [])])
        sha = sha256(self.one_pass.network.digests(views)[-1])
        sha.update(np.ascontiguousarray(self.pixels).data)
        return sha.digest()

"""The stored activations of one set of pictures, at every link of one network."""

import time
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.picture_keys import PictureKeys, picture_keys
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images.sources import ImageSource

# New activations are written together: after so many rows, bytes or seconds. Each transaction
# waits for the disk, and a process that is killed loses those that are not written yet.
_ROWS = 512
_BYTES = 64 * 2**20
_SECONDS = 10.0


class StoredActivations:
    """Stored activations of a set of pictures, at every link of a network.

    Parameters
    ----------
    cache : Cache
    network : FrozenNetwork
    pixels : str
        The `cache_key` of the preprocessing.
    arithmetic : str
        The `arithmetic` of the engine choice.
    source : ImageSource
    n_threads : int
        Number of threads that read files whose digests are not remembered.
    """

    def __init__(
        self,
        cache: Cache,
        network: FrozenNetwork,
        *,
        pixels: str,
        arithmetic: str,
        source: ImageSource,
        n_threads: int,
    ) -> None:
        self.cache = cache
        self._keys = PictureKeys([None] * len(source))
        self._spaces: list[bytes] = []
        if cache.is_open:
            self._keys = picture_keys(source, cache, n_threads)
            # Arithmetic changes no pixels, which the first space holds.
            first, *others = network.digests(pixels)
            self._spaces = [first, *(sha256(d + arithmetic.encode()).digest() for d in others)]
        self._new: dict[bytes, np.ndarray] = {}
        self._new_since = time.monotonic()

    def key(self, row: int) -> bytes | None:
        """The digest of a picture; None without a store, or if it could not be read."""
        return self._keys.digests[row]

    def held(self, link: int, rows: Sequence[int]) -> list[int]:
        """The rows that seem to have stored activations: the entries may be damaged.

        Parameters
        ----------
        link : int
            Number of the link whose inputs are meant; -1 for the outputs of the last.
        rows : sequence of int
        """
        by_key = self._by_key(rows)
        if not by_key:
            return []
        found = self.cache.holds(self._spaces[link], list(by_key))
        return [row for key, row in by_key.items() if key in found]

    def read(self, link: int, rows: Sequence[int]) -> tuple[list[int], Tensor]:
        """The rows that have stored inputs of a link, and these inputs, of shape (n, ...)."""
        by_key = self._by_key(rows)
        found = self.cache.read(self._spaces[link], list(by_key)) if by_key else {}
        if not found:
            return [], torch.empty(0)
        values = np.stack([found[key] for key in by_key if key in found])
        return [row for key, row in by_key.items() if key in found], torch.from_numpy(values)

    def keep(self, rows: Sequence[int], values: Tensor) -> None:
        """Store new outputs of the last link, once there are enough to write together."""
        if not self.cache.is_open:
            return
        if not self._new:
            self._new_since = time.monotonic()
        for row, value in zip(rows, values.numpy(), strict=True):
            key = self._keys.digests[row]
            # A file that changed since its digest was computed may be another picture by now.
            if key is not None and self._keys.is_unchanged(row):
                self._new[key] = value.copy()  # a view would keep its whole batch in memory
        n_bytes = sum(value.nbytes for value in self._new.values())
        waited = time.monotonic() - self._new_since
        if len(self._new) >= _ROWS or n_bytes >= _BYTES or waited >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the activations that are not written yet."""
        if self._new:
            self.cache.write(self._spaces[-1], self._new)
            self._new = {}

    def _by_key(self, rows: Sequence[int]) -> dict[bytes, int]:
        if not self.cache.is_open:
            return {}
        digests = self._keys.digests
        return {key: row for row in rows if (key := digests[row]) is not None}

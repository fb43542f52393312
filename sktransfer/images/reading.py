"""Read, resize and crop pictures in threads, batch by batch, ahead of who uses them."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sktransfer.exceptions import UnreadableImageError
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import ImageSource

# Batches decoded or being decoded while one is computed. Two keep the threads busy
# across a batch boundary; more would only hold memory.
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """Consecutive pictures of one size.

    Parameters
    ----------
    rows : slice
        Their place in the source.
    pixels : ndarray of shape (b, size, size, 3), uint8
        Zeros where a picture could not be read.
    unreadable : list of int
        Rows of the source that could not be read (only with ``skip_unreadable``).
    """

    rows: slice
    pixels: np.ndarray
    unreadable: list[int]


def read_batches(
    source: ImageSource,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    n_threads: int,
    skip_unreadable: bool = False,
) -> Iterator[Batch]:
    """Yield all pictures of `source` in order.

    Pillow releases the interpreter's lock while it decodes and resizes, so threads are
    enough to keep every core busy.

    Raises
    ------
    ImageError
        For the first picture in order that can't be read, unless `skip_unreadable`.
    """
    starts = iter(range(0, len(source), batch_size))
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sktransfer-reader") as pool:
        pending: deque[_PendingBatch] = deque()

        def submit_next() -> None:
            start = next(starts, None)
            if start is not None:
                rows = slice(start, min(start + batch_size, len(source)))
                pending.append(_PendingBatch(pool, source, preprocessing, rows))

        try:
            for _ in range(1 + _BATCHES_AHEAD):
                submit_next()
            while pending:
                batch = pending.popleft().result(skip_unreadable)
                submit_next()
                yield batch
        finally:  # also when the consumer stops early, or a picture raises
            pool.shutdown(wait=True, cancel_futures=True)


class _PendingBatch:
    """One batch whose pictures are being read into place."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        source: ImageSource,
        preprocessing: Preprocessing,
        rows: slice,
    ) -> None:
        size = preprocessing.crop_size
        self.rows = rows
        self.pixels = np.zeros((rows.stop - rows.start, size, size, 3), dtype=np.uint8)

        def read_into_place(row: int) -> None:
            self.pixels[row - rows.start] = preprocessing(source.read(row))

        self.futures: list[Future[None]] = [
            pool.submit(read_into_place, row) for row in range(rows.start, rows.stop)
        ]

    def result(self, skip_unreadable: bool) -> Batch:
        unreadable = []
        for row, future in enumerate(self.futures, start=self.rows.start):
            try:
                future.result()
            except UnreadableImageError:
                if not skip_unreadable:
                    raise
                unreadable.append(row)
        return Batch(self.rows, self.pixels, unreadable)

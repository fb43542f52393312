"""Read, resize and crop pictures in threads, batch by batch, ahead of who uses them."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sktransfer._common.warning import users_line, warning_at
from sktransfer.exceptions import UnreadableImageError
from sktransfer.images.augmentation import AugmentedView
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import ImageSource

# Batches decoded or being decoded while one is computed. Two keep the threads busy
# across a batch boundary; more would only hold memory.
_BATCHES_AHEAD = 2

# What makes an array of one size of a picture.
ToPixels = Preprocessing | AugmentedView


@dataclass(frozen=True)
class Batch:
    """Pictures of one size.

    Parameters
    ----------
    rows : sequence of int
        Their places in the source.
    pixels : ndarray of shape (b, size, size, 3), uint8
        Zeros where a picture could not be read.
    unreadable : list of int
        Rows of the source that could not be read (only with ``skip_unreadable``).
    """

    rows: Sequence[int]
    pixels: np.ndarray
    unreadable: list[int]


def read_batches(
    source: ImageSource,
    preprocessing: ToPixels,
    batches: Iterable[Sequence[int]],
    *,
    n_threads: int,
    skip_unreadable: bool = False,
) -> Generator[Batch, None, None]:
    """Yield pictures of `source` in batches of the given rows.

    Pillow releases the interpreter's lock while it decodes and resizes, so threads are
    enough to keep every core busy.

    Parameters
    ----------
    source : ImageSource
    preprocessing : Preprocessing or AugmentedView
    batches : iterable of sequence of int
        Rows of each batch; asked for only when a thread is about to have nothing to do.
    n_threads : int
    skip_unreadable : bool

    Raises
    ------
    ImageError
        For the first picture in order that can't be read, unless `skip_unreadable`.
    """
    coming = iter(batches)
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sktransfer-reader") as pool:
        pending: deque[_PendingBatch] = deque()

        def submit_next() -> None:
            rows = next(coming, None)
            if rows is not None:
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
        preprocessing: ToPixels,
        rows: Sequence[int],
    ) -> None:
        size = preprocessing.crop_size
        self.rows = rows
        self.pixels = np.zeros((len(rows), size, size, 3), dtype=np.uint8)

        line = users_line()  # which the threads do not come from

        def read_into_place(place: int, row: int) -> None:
            with warning_at(line):
                self.pixels[place] = preprocessing(source.read(row))

        self.futures: list[Future[None]] = [
            pool.submit(read_into_place, place, row) for place, row in enumerate(rows)
        ]

    def result(self, skip_unreadable: bool) -> Batch:
        unreadable = []
        for row, future in zip(self.rows, self.futures, strict=True):
            try:
                future.result()
            except UnreadableImageError:
                if not skip_unreadable:
                    raise
                unreadable.append(row)
        return Batch(self.rows, self.pixels, unreadable)

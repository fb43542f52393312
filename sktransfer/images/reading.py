"""Read, resize and crop pictures in threads, some batches ahead of their use."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sktransfer._common.warning import Line, users_line, warning_at
from sktransfer.exceptions import UnreadableImageError
from sktransfer.images.augmentation import AugmentedView
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import ImageSource

# Number of batches that are decoded while another one is in use. Two keep all threads busy at the
# end of a batch; more would only take memory.
_BATCHES_AHEAD = 2

# Callables that turn a picture into pixels of a fixed size.
ToPixels = Preprocessing | AugmentedView


@dataclass(frozen=True)
class Batch:
    """A batch of pictures of equal size.

    Parameters
    ----------
    rows : sequence of int
        Rows of X that the pictures come from.
    pixels : ndarray of shape (b, size, size, c), uint8
        All 0 for a picture that could not be read.
    unreadable : list of int
        Rows of X that could not be read (only with ``skip_unreadable``).
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

    Parameters
    ----------
    source : ImageSource
    preprocessing : Preprocessing or AugmentedView
    batches : iterable of sequence of int
        Rows of each batch. The iterable is advanced only when another batch has to be read.
    n_threads : int
    skip_unreadable : bool

    Yields
    ------
    Batch

    Raises
    ------
    ImageError
        For the first row, in the order of `batches`, that can't be read. With
        `skip_unreadable`, only for errors that are not an `UnreadableImageError`.
    """
    remaining = iter(batches)
    # Once for all batches. The threads of the pool have no frame of the user in their stack.
    line = users_line()
    # Threads rather than processes: Pillow releases the interpreter lock while it decodes and
    # resizes, so threads keep all cores busy and need not copy pixels between processes.
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sktransfer-reader") as pool:
        pending: deque[_PendingBatch] = deque()

        def submit_next() -> None:
            rows = next(remaining, None)
            if rows is not None:
                pending.append(_PendingBatch(pool, source, preprocessing, rows, line))

        try:
            for _ in range(1 + _BATCHES_AHEAD):
                submit_next()
            while pending:
                batch = pending.popleft().result(skip_unreadable)
                # Before the batch is used, so that threads read on while it is computed.
                submit_next()
                yield batch
        finally:  # also when the consumer stops early, or a picture raises
            pool.shutdown(wait=True, cancel_futures=True)


class _PendingBatch:
    """A batch whose pictures are being read by the threads of a pool."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        source: ImageSource,
        preprocessing: ToPixels,
        rows: Sequence[int],
        line: Line,
    ) -> None:
        size = preprocessing.crop_size
        self.rows = rows
        self.pixels = np.zeros((len(rows), size, size, source.channels), dtype=np.uint8)

        def read_into_place(place: int, row: int) -> None:
            with warning_at(line):
                self.pixels[place] = preprocessing(source.read(row))

        self.futures: list[Future[None]] = [
            pool.submit(read_into_place, place, row) for place, row in enumerate(rows)
        ]

    def result(self, skip_unreadable: bool) -> Batch:
        unreadable = []
        # In order of rows, so that the error that is raised does not depend on the threads.
        for row, future in zip(self.rows, self.futures, strict=True):
            try:
                future.result()
            except UnreadableImageError:
                if not skip_unreadable:
                    raise
                unreadable.append(row)
        return Batch(self.rows, self.pixels, unreadable)

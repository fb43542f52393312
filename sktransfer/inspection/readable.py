"""Which pictures can be read, at the cost of reading all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sktransfer._common.threads import reading_threads
from sktransfer._common.warning import users_line, warning_at
from sktransfer.exceptions import UnreadableImageError
from sktransfer.images.sources import ImageSource


def readable_rows(images: ImageSource, n_jobs: int | None = None) -> np.ndarray:
    """Tell for each picture (n,) if it can be read.

    Parameters
    ----------
    images : ImageSource
    n_jobs : int, optional
        Number of threads that read; by default as many as torch uses.
    """
    line = users_line()

    def can_be_read(row: int) -> bool:
        with warning_at(line):
            try:
                images.read(row)
            except UnreadableImageError:
                return False
        return True

    with reading_threads(n_jobs) as n_threads, ThreadPoolExecutor(n_threads) as pool:
        return np.array(list(pool.map(can_be_read, range(len(images)))), dtype=bool)

"""The seconds that a picture takes to pass a network, measured on a pass that is needed anyway."""

from __future__ import annotations

import time


class Stopwatch:
    """Times the batches of one pass; it is the `watch` of a `FrozenPass`.

    Create it immediately before the pass.
    """

    def __init__(self) -> None:
        self._laps: list[tuple[int, float]] = []
        self._last = time.perf_counter()

    def __call__(self, n_rows: int, n_read: int) -> None:
        """Note that a batch of `n_rows` is done, of which `n_read` were not stored."""
        now = time.perf_counter()
        if n_read == n_rows:
            self._laps.append((n_rows, now - self._last))
        self._last = now

    def seconds_per_picture(self) -> float:
        """The mean over batches of which nothing was stored; NaN if there are none.

        In the first of them an engine prepares the network, so it counts only where the others
        are few.
        """
        if not self._laps:
            return float("nan")
        first, *others = self._laps
        counted = others if sum(n for n, _ in others) >= first[0] else self._laps
        return sum(seconds for _, seconds in counted) / sum(n for n, _ in counted)

"""One pass over the pictures: stored activations are read, the others computed and kept."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sktransfer._common.memory_errors import telling_of_memory
from sktransfer._common.threads import computing, reading_threads
from sktransfer.activations.engines.choice import EngineChoice, engine_for
from sktransfer.activations.engines.interface import Engine
from sktransfer.activations.engines.torch_engine import HostCopy
from sktransfer.activations.progress import counting
from sktransfer.activations.results import Known, Results
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.stored import StoredActivations
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images.reading import Batch, ToPixels, read_batches
from sktransfer.images.sources import ImageSource

Then = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FrozenPass:
    """The settings with which pictures are run through a frozen network.

    Parameters
    ----------
    network : FrozenNetwork
        From uint8 pixels (n, c, h, w) to activations.
    preprocessing : Preprocessing or AugmentedView
    choice : EngineChoice
        Engine, device and precision.
    batch_size : int
        Pictures per batch.
    n_jobs : int or None
        Number of threads that read pictures, as `reading_threads` counts them.
    cache : str, path-like or None
        Folder of the store; None for no store.
    skip_unreadable : bool
        Continue when a picture can't be read, and return the rows of such pictures.
    may_map : int
        Use a temporary file for activations where so many sets of this size are too large
        for memory; 0 for never.
    further : int
        Number of pictures that other passes through this network will run: the engine that is
        worth its preparation depends on all of them.
    progress : str, optional
        Title of a progress bar; no bar without one.
    watch : callable, optional
        Called after each batch with its number of rows, and with the number of those whose pictures
        were read and computed: the others were stored.
    """

    network: FrozenNetwork
    preprocessing: ToPixels
    choice: EngineChoice = field(default_factory=EngineChoice)
    batch_size: int = 64
    n_jobs: int | None = None
    cache: str | os.PathLike[str] | None = None
    skip_unreadable: bool = False
    may_map: int = 0
    further: int = 0
    progress: str | None = None
    watch: Callable[[int, int], object] | None = None

    def collect(
        self, source: ImageSource, then: Then | None = None, known: Known | None = None
    ) -> tuple[Tensor, list[int]]:
        """All activations, and the rows that could not be read.

        Parameters
        ----------
        source : ImageSource
        then : callable, optional
            Applied to the activations of each batch on the device, before they are collected.
            A batch has the same rows, however many of them are in the cache.
        known : Known, optional
            Values of some rows, from an earlier pass of the same settings.

        Returns
        -------
        activations : Tensor of shape (n, ...)
            On the CPU; float32, or uint8 for a network without links, which gives the
            pixels. NaN (0 for pixels) in the rows that could not be read.
        unreadable : list of int
            Rows, in order.

        Raises
        ------
        WeightsError
            If a picture's activations are NaN or infinite.
        UnreadableImageError
            If a picture can't be read, unless `skip_unreadable`.
        EngineUnavailableError
            If the engine can't be used, and others would give other values.
        DeviceMemoryError
            If a batch is too large for the memory.
        """
        choice = self.choice.settled()
        with (
            telling_of_memory(
                f"There is too little memory for batches of batch_size={self.batch_size} pictures, "
                "some of which are read ahead ({error}). Use a smaller batch_size or image_size."
            ),
            reading_threads(self.n_jobs) as n_threads,
            Cache(self.cache) as cache,
            counting(self.progress, len(source)) as on_rows,
        ):
            stored = StoredActivations(
                cache,
                self.network,
                pixels=self.preprocessing.cache_key,
                arithmetic=choice.arithmetic,
                source=source,
                n_threads=n_threads,
            )
            results = Results(source, may_map=self.may_map, on_rows=on_rows)
            running = _RunningPass(self, choice, source, stored, then, n_threads)
            if known is not None:
                results.put(*known)
            rows, repeated = _distinct(source, stored, () if known is None else known.rows)
            try:
                for step in running.steps(rows):
                    results.put(step.rows, step.values.wait(), step.unreadable)
                    if self.watch is not None:
                        self.watch(len(step.rows), step.n_read)
                    running.keep(step)
            finally:  # activations from before an error or Ctrl-C are worth keeping
                stored.flush()
            results.repeat(repeated)
            return results.values, results.unreadable


class _Step(NamedTuple):
    """A batch once it is computed: values to collect, and activations for the store."""

    rows: Sequence[int]
    values: HostCopy
    unreadable: Sequence[int]
    activations: HostCopy | None  # of all rows; None where nothing is to be stored
    new: Sequence[int]  # rows whose activations were not stored
    n_read: int  # rows whose pictures were read


class _Part(NamedTuple):
    """The rows of a batch before it is computed, and stored activations of some of them."""

    rows: Sequence[int]
    # The link that comes next (-1 behind the last), rows, and stored inputs of that link.
    found: Sequence[tuple[int, Sequence[int], Tensor]]
    missing: list[int]  # rows of which nothing is stored: their pictures are read


@dataclass
class _RunningPass:
    """A pass while it runs.

    The rows of a batch do not depend on what is stored: a library chooses its kernel, and with
    it the last bits of each value, by the number of rows. So `then` returns the same bits
    whether activations were stored or are computed.
    """

    settings: FrozenPass
    choice: EngineChoice  # the settled one
    source: ImageSource
    stored: StoredActivations
    then: Then | None
    n_threads: int

    def steps(self, rows: Sequence[int]) -> Iterator[_Step]:
        """Compute batch by batch, from stored activations of any link or from pictures."""
        steps = self._steps(rows)
        yield from steps if self.choice.device == "cpu" else _one_step_late(steps)

    def keep(self, step: _Step) -> None:
        """Give new activations to the store."""
        if step.activations is None:
            return
        activations = step.activations.wait()
        if len(step.new) < len(step.rows):
            activations = activations[_positions(step.rows, step.new)]
        self.stored.keep(step.new, activations)

    def _steps(self, rows: Sequence[int]) -> Iterator[_Step]:
        parts: deque[_Part] = deque()
        counts = self._counts(rows)

        def missing() -> Iterator[Sequence[int]]:
            # Asked for some batches ahead, so that pictures are read while a batch is computed.
            for batch_rows in self._batches(rows):
                parts.append(self._part(batch_rows, counts))
                yield parts[-1].missing

        batches = read_batches(
            self.source,
            self.settings.preprocessing,
            missing(),
            n_threads=self.n_threads,
            skip_unreadable=self.settings.skip_unreadable,
        )
        with closing(batches):  # an error whose traceback is kept must not keep threads
            for batch in batches:
                yield self._computed(parts.popleft(), batch, counts)

    def _counts(self, rows: Sequence[int]) -> dict[int, int]:
        """Number of rows that begin at each link, for the choice of the engine."""
        # Counted before the pass: the few rows that are missing from a store, however many it
        # holds, do not repay the conversion of a network.
        left = _without(rows, self.stored.held(-1, rows))
        counts = {}
        last = len(self.settings.network) - 1
        # An engine with an arithmetic of its own rounds once for several operations, also across
        # links: from within the network it would give other values than from the pictures.
        for link in range(0 if self.choice.own_arithmetic else last, -1, -1):
            held = self.stored.held(link, left)
            counts[link] = len(held)
            left = _without(left, held)
        counts[0] = counts.get(0, 0) + len(left)  # the inputs of the first link are pixels
        return counts

    def _batches(self, rows: Sequence[int]) -> list[Sequence[int]]:
        """The rows of each batch, in the order in which this process computes the batches.

        The workers of a search are given the same pictures at the same time. Each begins with
        another batch and finds the others' results in the store: together they make one pass.
        """
        size = self.settings.batch_size
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        if multiprocessing.parent_process() is None or not batches:
            return batches
        # Workers have consecutive process numbers; times a prime, they begin far apart.
        first = os.getpid() * 7919 % len(batches)
        return batches[first:] + batches[:first]

    def _part(self, rows: Sequence[int], counts: dict[int, int]) -> _Part:
        """Look up the rows of a batch in the store, at the last link first."""
        # Looked up batch by batch, not once: other processes may have stored some meanwhile.
        found, left = [], list(rows)
        for link in (-1, *(link for link in sorted(counts, reverse=True) if counts[link])):
            some, values = self.stored.read(link, left)
            if some:
                found.append((link, some, values))
                left = _without(left, some)
        return _Part(rows, found, left)

    def _computed(self, part: _Part, batch: Batch, counts: dict[int, int]) -> _Step:
        """Run a batch through the network, now that its missing pictures are read."""
        todo = [(link, rows, values) for link, rows, values in part.found if link >= 0]
        if len(batch.rows):
            # A view: pictures lie channels-last in memory, which convolutions prefer.
            pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)
            todo.append((0, batch.rows, pixels))
        with computing(), torch.inference_mode():
            pieces = [(rows, values) for link, rows, values in part.found if link < 0]
            pieces += [
                (rows, self._engine(link, values, counts[link])(values))
                for link, rows, values in todo
            ]
            activations = _joined(part.rows, pieces)
            values = activations if self.then is None else self.then(_same_layout(activations))
            copy = HostCopy(values)
            new = [row for _, rows, _ in todo for row in rows if row not in batch.unreadable]
            if not new or not self.stored.cache.is_open:
                return _Step(part.rows, copy, batch.unreadable, None, (), len(batch.rows))
            whole = copy if self.then is None else HostCopy(activations)
            return _Step(part.rows, copy, batch.unreadable, whole, sorted(new), len(batch.rows))

    def _engine(self, start: int, inputs: Tensor, n_pictures: int) -> Engine:
        cache = self.stored.cache if self.stored.cache.is_open else None
        network, n = self.settings.network, n_pictures + self.settings.further
        return engine_for(network, start, inputs, self.choice, n, cache)


def _joined(rows: Sequence[int], pieces: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """Activations of all `rows` in their order, on the device that computed some of them."""
    *_, (_, last) = pieces
    if len(pieces) == 1:
        return last
    whole = last.new_empty((len(rows), *last.shape[1:]))
    for some, values in pieces:
        whole[_positions(rows, some)] = values.to(whole.device)
    return whole


def _positions(rows: Sequence[int], some: Sequence[int]) -> list[int]:
    position = {row: i for i, row in enumerate(rows)}
    return [position[row] for row in some]


def _same_layout(activations: Tensor) -> Tensor:
    """The same values, in the memory layout and alignment that all activations are given."""
    # Libraries choose a kernel by layout and alignment too, and with it the last bits.
    maps = activations.ndim == 4
    return activations.clone(memory_format=torch.channels_last if maps else torch.contiguous_format)


def _distinct(
    source: ImageSource, stored: StoredActivations, known: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The rows of different pictures to compute, and pairs of a repeated row and one like it.

    Oversampling repeats rows. Repeated pictures are recognised by their digest where the store
    needed it, else by their path: digests of all files would take time without a store.
    """
    paths = dict(source.paths())
    first: dict[object, int] = {}
    repeated, filled = [], set(known)
    for row in (*known, *_without(range(len(source)), known)):
        original = first.setdefault(stored.key(row) or paths.get(row, row), row)
        if original != row and row not in filled:
            repeated.append((row, original))
    return _without(sorted(first.values()), known), repeated


def _without(rows: Sequence[int], others: Sequence[int]) -> list[int]:
    left_out = set(others)
    return [row for row in rows if row not in left_out]


def _one_step_late(steps: Iterator[_Step]) -> Iterator[_Step]:
    """Yield each step once the next is begun: the device works while a result is copied."""
    before = next(steps, None)
    for step in steps:
        assert before is not None
        yield before
        before = step
    if before is not None:
        yield before

"""One pass over the pictures: what is stored is read, the rest is computed and kept."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sktransfer._common.threads import computing, reading_threads
from sktransfer.activations.engines.choice import EngineChoice, engine_for
from sktransfer.activations.engines.interface import Engine
from sktransfer.activations.engines.torch_engine import HostCopy
from sktransfer.activations.progress import counting
from sktransfer.activations.results import Results
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.stored import StoredActivations
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images.reading import Batch, ToPixels, read_batches
from sktransfer.images.sources import ImageSource

Then = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FrozenPass:
    """How pictures go through a frozen network.

    Parameters
    ----------
    network : FrozenNetwork
        From uint8 pixels (n, 3, h, w) to activations.
    preprocessing : Preprocessing or AugmentedView
    choice : EngineChoice
        Who computes.
    batch_size : int
        Pictures a batch.
    n_jobs : int or None
        Threads that read pictures.
    cache : str, path-like or None
        Folder of the store.
    skip_unreadable : bool
        Go on when a picture can't be read, and say which those were.
    may_map : int
        Activations may go to a temporary file if so many sets of them are too large for
        memory; 0 if they never may.
    progress : str, optional
        Title of a progress bar; no bar without one.
    """

    network: FrozenNetwork
    preprocessing: ToPixels
    choice: EngineChoice = field(default_factory=EngineChoice)
    batch_size: int = 64
    n_jobs: int | None = None
    cache: str | os.PathLike[str] | None = None
    skip_unreadable: bool = False
    may_map: int = 0
    progress: str | None = None

    def collect(self, source: ImageSource, then: Then | None = None) -> tuple[Tensor, list[int]]:
        """All activations, and the rows that could not be read.

        Parameters
        ----------
        source : ImageSource
        then : callable, optional
            Applied to `batch_size` rows at a time on the device, before they are collected.
            They are the same rows together whatever the cache holds.

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
        with (
            reading_threads(self.n_jobs) as n_threads,
            Cache(self.cache) as cache,
            counting(self.progress, len(source)) as on_rows,
        ):
            stored = StoredActivations(
                cache,
                self.network,
                pixels=self.preprocessing.cache_key,
                arithmetic=self.choice.arithmetic,
                source=source,
                n_threads=n_threads,
            )
            results = Results(source, may_map=self.may_map, on_rows=on_rows)
            run = _Run(self, source, stored, then, n_threads)
            rows, twins = _distinct(source, stored)
            try:
                for step in run.steps(rows):
                    results.put(step.rows, step.values.wait(), step.unreadable)
                    run.keep(step)
            finally:  # what was computed before an error or Ctrl-C is worth keeping
                stored.flush()
            results.repeat(twins)
            return results.values, results.unreadable


class _Step(NamedTuple):
    """A part that is done: what to collect, and activations of which some are new."""

    rows: Sequence[int]
    values: HostCopy
    unreadable: Sequence[int]
    activations: HostCopy | None
    new: Sequence[int]


class _Part(NamedTuple):
    """Rows that go through the network together, and what the store holds of them.

    `found` has the link that comes next, -1 behind the last, rows, and what goes into it.
    """

    rows: Sequence[int]
    found: Sequence[tuple[int, Sequence[int], Tensor]]
    missing: list[int]


@dataclass
class _Run:
    """A pass while it runs.

    Rows go in the same parts, wherever each begins: a library chooses its kernel, and with it
    the last bits, by the number of rows. So what `then` gives does not depend on which
    activations were stored and which are computed.
    """

    settings: FrozenPass
    source: ImageSource
    stored: StoredActivations
    then: Then | None
    n_threads: int

    def steps(self, rows: Sequence[int]) -> Iterator[_Step]:
        """Part by part, from the store, from what it holds of earlier links, from pictures."""
        steps = self._steps(rows)
        yield from steps if self.settings.choice.device == "cpu" else _one_behind(steps)

    def keep(self, step: _Step) -> None:
        """Hand new activations to the store."""
        if step.activations is None:
            return
        activations = step.activations.wait()
        if len(step.new) < len(step.rows):
            activations = activations[_places(step.rows, step.new)]
        self.stored.keep(step.new, activations)

    def _steps(self, rows: Sequence[int]) -> Iterator[_Step]:
        parts: deque[_Part] = deque()
        counts = self._counts(rows)

        def missing() -> Iterator[Sequence[int]]:
            for some in self._in_turn(rows):
                parts.append(self._part(some, counts))
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
                yield self._finished(parts.popleft(), batch, counts)

    def _counts(self, rows: Sequence[int]) -> dict[int, int]:
        """How many rows begin at each link: it decides who computes."""
        left = _without(rows, self.stored.held(-1, rows))
        counts = {}
        for link in range(len(self.settings.network) - 1, -1, -1):
            held = self.stored.held(link, left)
            counts[link] = len(held)
            left = _without(left, held)
        counts[0] = counts.get(0, 0) + len(left)  # pixels are what goes into the first
        return counts

    def _in_turn(self, rows: Sequence[int]) -> list[Sequence[int]]:
        """The rows of each part.

        The workers of a search all begin with the same pictures. Each begins at another
        place, so that together they make one pass.
        """
        size = self.settings.batch_size
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        if multiprocessing.parent_process() is None:
            return parts
        first = os.getpid() * 7919 % len(parts)
        return parts[first:] + parts[:first]

    def _part(self, rows: Sequence[int], counts: dict[int, int]) -> _Part:
        """What is stored of some rows by now, which other processes may have added to."""
        found, left = [], list(rows)
        for link in (-1, *(link for link in sorted(counts, reverse=True) if counts[link])):
            some, values = self.stored.read(link, left)
            if some:
                found.append((link, some, values))
                left = _without(left, some)
        return _Part(rows, found, left)

    def _finished(self, part: _Part, batch: Batch, counts: dict[int, int]) -> _Step:
        """A part once its missing pictures are read."""
        todo = [(link, rows, values) for link, rows, values in part.found if link >= 0]
        if len(batch.rows):
            # A view: channels-last in memory is how the pictures are stored anyway.
            pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)
            todo.append((0, batch.rows, pixels))
        with computing(), torch.inference_mode():
            pieces = [(rows, values) for link, rows, values in part.found if link < 0]
            pieces += [
                (rows, self._engine(link, values, counts[link])(values))
                for link, rows, values in todo
            ]
            activations = _joined(part.rows, pieces)
            values = activations if self.then is None else self.then(_laid_out(activations))
            copy = HostCopy(values)
            new = [row for _, rows, _ in todo for row in rows if row not in batch.unreadable]
            if not new or not self.stored.cache.is_open:
                return _Step(part.rows, copy, batch.unreadable, None, ())
            whole = copy if self.then is None else HostCopy(activations)
            return _Step(part.rows, copy, batch.unreadable, whole, sorted(new))

    def _engine(self, start: int, inputs: Tensor, n_pictures: int) -> Engine:
        cache = self.stored.cache if self.stored.cache.is_open else None
        settings = self.settings
        return engine_for(settings.network, start, inputs, settings.choice, n_pictures, cache)


def _joined(rows: Sequence[int], pieces: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """Activations of all `rows` in their order, on the device that computed some of them."""
    *_, (_, last) = pieces
    if len(pieces) == 1:
        return last
    whole = last.new_empty((len(rows), *last.shape[1:]))
    for some, values in pieces:
        whole[_places(rows, some)] = values.to(whole.device)
    return whole


def _places(rows: Sequence[int], some: Sequence[int]) -> list[int]:
    place = {row: i for i, row in enumerate(rows)}
    return [place[row] for row in some]


def _laid_out(activations: Tensor) -> Tensor:
    """The same values in one order and alignment of memory, wherever they come from."""
    maps = activations.ndim == 4
    return activations.clone(memory_format=torch.channels_last if maps else torch.contiguous_format)


def _distinct(
    source: ImageSource, stored: StoredActivations
) -> tuple[list[int], list[tuple[int, int]]]:
    """The rows of different pictures, and the others with the row that each repeats.

    Oversampling repeats rows. They are known by their content where that was read, and
    else by their path.
    """
    paths = dict(source.paths())
    first: dict[object, int] = {}
    twins = []
    for row in range(len(source)):
        original = first.setdefault(stored.key(row) or paths.get(row, row), row)
        if original != row:
            twins.append((row, original))
    return sorted(first.values()), twins


def _without(rows: Sequence[int], done: Sequence[int]) -> list[int]:
    gone = set(done)
    return [row for row in rows if row not in gone]


def _one_behind(steps: Iterator[_Step]) -> Iterator[_Step]:
    """Each step after the next was begun: a device works while the last result is copied."""
    before = next(steps, None)
    for step in steps:
        assert before is not None
        yield before
        before = step
    if before is not None:
        yield before

"""One pass over the pictures: what is stored is read, the rest is computed and kept."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from sktransfer._devices import computing, reading_threads
from sktransfer.activations.engines.choice import Engine, EngineChoice, engine_for
from sktransfer.activations.engines.torch_engine import HostCopy
from sktransfer.activations.results import Results
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.stored import StoredActivations
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images.reading import ToPixels, read_batches
from sktransfer.images.sources import ImageSource

Then = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pass:
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
            Applied to each batch on the device before it is collected.

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
            tqdm(
                total=len(source), desc=self.progress, unit="img", disable=self.progress is None
            ) as bar,
        ):
            stored = StoredActivations(
                cache,
                self.network,
                pixels=self.preprocessing.of_pixels,
                arithmetic=self.choice.arithmetic,
                source=source,
                n_threads=n_threads,
            )
            results = Results(source, may_map=self.may_map, on_rows=bar.update)
            run = _Run(self, source, stored, then, n_threads)
            rows, twins = _distinct(source, stored)
            try:
                for step in run.steps(rows):
                    results.put(step.rows, step.values.wait(), step.unreadable)
                    if step.new is not None:
                        run.keep(step.rows, step.new.wait(), step.unreadable)
            finally:  # what was computed before an error or Ctrl-C is worth keeping
                stored.flush()
            results.repeat(twins)
            return results.values, results.unreadable


class _Step(NamedTuple):
    """Some rows done: what to collect, and activations that are new and worth keeping."""

    rows: Sequence[int]
    values: HostCopy
    new: HostCopy | None = None
    unreadable: Sequence[int] = ()


@dataclass
class _Run:
    """A pass while it runs."""

    settings: Pass
    source: ImageSource
    stored: StoredActivations
    then: Then | None
    n_threads: int

    def steps(self, rows: Sequence[int]) -> Iterator[_Step]:
        """From the store, from what it holds of earlier links, and from the pictures."""
        left = yield from self._read(rows)
        for start in range(len(self.settings.network) - 1, -1, -1):
            left = yield from self._continue(start, left)
        steps = self._compute(left)
        yield from steps if self.settings.choice.device == "cpu" else _one_behind(steps)

    def keep(self, rows: Sequence[int], activations: Tensor, unreadable: Sequence[int]) -> None:
        """Hand new activations to the store."""
        if unreadable:
            places = [i for i, row in enumerate(rows) if row not in unreadable]
            rows, activations = [rows[i] for i in places], activations[places]
        self.stored.keep(rows, activations)

    def _read(self, rows: Sequence[int]) -> Generator[_Step, None, list[int]]:
        """Rows that are stored as they are wanted; returns the others."""
        left: list[int] = []
        for batch in self._batches(rows):
            found, activations = self.stored.read(-1, batch)
            if found:
                yield self._finished(found, activations)
            left += _without(batch, found)
        return left

    def _continue(self, start: int, rows: Sequence[int]) -> Generator[_Step, None, list[int]]:
        """Rows of which the input of link `start` is stored; returns the others."""
        waiting = self.stored.held(start, rows)
        done: list[int] = []
        for batch in self._batches(waiting):
            found, inputs = self.stored.read(start, batch)
            if found:
                yield self._run_links(start, found, inputs, len(waiting))
            done += found
        return _without(rows, done)

    def _compute(self, rows: Sequence[int]) -> Iterator[_Step]:
        """Rows that must be computed from the pictures."""
        late: list[_Step] = []
        batches = read_batches(
            self.source,
            self.settings.preprocessing,
            self._still_missing(rows, late),
            n_threads=self.n_threads,
            skip_unreadable=self.settings.skip_unreadable,
        )
        with closing(batches):  # an error whose traceback is kept must not keep threads
            for batch in batches:
                # A view: channels-last in memory is how the pictures are stored anyway.
                pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)
                yield self._run_links(0, batch.rows, pixels, len(rows), batch.unreadable)
                while late:
                    yield late.pop()
        yield from late

    def _still_missing(self, rows: Sequence[int], late: list[_Step]) -> Iterator[Sequence[int]]:
        """Batches to read, less what other processes stored in the meantime.

        The workers of a search all begin with the same pictures. Each begins at another
        place, so that together they make one pass.
        """
        batches = list(self._batches(rows))
        if multiprocessing.parent_process() is not None and batches:
            first = os.getpid() * 7919 % len(batches)
            batches = batches[first:] + batches[:first]
        known = self.stored.cache.changes()
        for batch in batches:
            now = self.stored.cache.changes()
            if now != known:
                found, activations = self.stored.read(-1, batch)
                if found:
                    late.append(self._finished(found, activations))
                batch = _without(batch, found)
            if batch:
                yield batch

    def _finished(self, rows: Sequence[int], activations: Tensor) -> _Step:
        if self.then is None:
            return _Step(rows, HostCopy(activations))
        with computing(), torch.inference_mode():
            return _Step(rows, HostCopy(self.then(activations)))

    def _run_links(
        self,
        start: int,
        rows: Sequence[int],
        inputs: Tensor,
        n_pictures: int,
        unreadable: Sequence[int] = (),
    ) -> _Step:
        settings, shelf = self.settings, self.stored.cache if self.stored.cache.is_open else None
        with computing():
            engine: Engine = engine_for(
                settings.network, start, inputs, settings.choice, n_pictures, shelf
            )
            activations = engine(inputs)
            values = activations if self.then is None else self.then(activations)
            copy = HostCopy(values)
            if not self.stored.cache.is_open:
                return _Step(rows, copy, None, unreadable)
            new = copy if self.then is None else HostCopy(activations)
            return _Step(rows, copy, new, unreadable)

    def _batches(self, rows: Sequence[int]) -> Iterator[Sequence[int]]:
        size = self.settings.batch_size
        return (rows[start : start + size] for start in range(0, len(rows), size))


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

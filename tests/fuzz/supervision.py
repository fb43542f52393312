"""Run cases in processes that may crash, hang or take too much memory, and count what happens."""

import faulthandler
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECONDS = 5  # of a processor, after which a case counts as a hang
SECONDS_OF_WAITING = 300  # for a case that waits and computes nothing; a busy machine is slow
MEMORY = 2**30  # bytes by which a case may make a process grow
_GB = 2**30


class Verdict(NamedTuple):
    """What came of a case: one of the kinds that are allowed, or a finding with its details."""

    kind: str
    detail: str = ""


class Finding(NamedTuple):
    """A case that did what it must not."""

    index: int
    kind: str
    detail: str


@dataclass
class Result:
    """Counts of all kinds of verdicts, the findings, and the most seconds of a case."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)


def run(
    check: Callable[[int], Verdict],
    count: int,
    allowed: Sequence[str],
    *,
    n_processes: int = 2,
    first: int = 0,
) -> Result:
    """Check the cases `first` to `first + count`, in processes that are replaced when they end.

    Parameters
    ----------
    check : callable
        Makes the case of an index and judges it. An exception counts as a finding.
    count : int
    allowed : sequence of str
        The kinds of verdicts that are no findings.
    n_processes : int
    first : int
        Index of the first case.
    """
    workers = [
        _Worker(check, allowed, range(first + k, first + count, n_processes))
        for k in range(n_processes)
    ]
    at_work = workers
    while at_work := [worker for worker in at_work if worker.is_at_work()]:
        time.sleep(0.05)
    result = Result()
    for worker in workers:
        result.counts += worker.counts()
        result.findings += worker.findings()
        result.slowest = max(result.slowest, worker.slowest())
    result.findings.sort()
    return result


class _Worker:
    """A process that checks every n-th case, and its successors."""

    def __init__(
        self, check: Callable[[int], Verdict], allowed: Sequence[str], indices: range
    ) -> None:
        self._fork = multiprocessing.get_context("fork")
        self._check, self._allowed, self._todo = check, allowed, indices
        # In shared memory, so that they outlast a process that is killed.
        self._counts = self._fork.RawArray("q", len(allowed))
        self._place = self._fork.RawValue("q", -1)
        self._slowest = self._fork.RawArray("d", 2)
        self._queue = self._fork.SimpleQueue()
        self._findings: list[Finding] = []
        self._start()

    def _start(self) -> None:
        self._place.value = -1
        self._process = self._fork.Process(target=self._work, args=(self._todo,))
        self._process.start()

    def is_at_work(self) -> bool:
        """Take what the process has found; replace it if it ended before its last case."""
        while not self._queue.empty():
            self._findings.append(Finding(*self._queue.get()))
        if self._process.is_alive():
            return True
        self._process.join()
        while not self._queue.empty():
            self._findings.append(Finding(*self._queue.get()))
        code, place = self._process.exitcode, self._place.value
        if code == 0 and place == len(self._todo):
            return False
        if place < 0:
            raise RuntimeError("a process of the fuzzer ended before its first case")
        self._findings.append(Finding(self._todo[place], *_end(code)))
        self._todo = self._todo[place + 1 :]
        if len(self._todo) > 0:
            self._start()
        return len(self._todo) > 0

    def counts(self) -> Counter[str]:
        found = Counter(finding.kind for finding in self._findings)
        return Counter(dict(zip(self._allowed, self._counts, strict=True))) + found

    def findings(self) -> list[Finding]:
        return self._findings

    def slowest(self) -> tuple[float, int]:
        return self._slowest[0], int(self._slowest[1])

    def _work(self, indices: range) -> None:
        for number in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)  # which ends the process, in C code as well
        faulthandler.disable()  # a crash is counted, and not described
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff describes all damage there
        resource.setrlimit(resource.RLIMIT_AS, (_memory()[0] + 4 * MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for place, index in enumerate(indices):
            self._place.value = place
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.setitimer(signal.ITIMER_REAL, SECONDS_OF_WAITING)
            before = _forget_the_peak()
            start = time.process_time()
            verdict = _judged(self._check, index)
            seconds = time.process_time() - start
            # Not while the lock of the queue is held, which the successor needs.
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if seconds > self._slowest[0]:
                self._slowest[:] = seconds, index
            grown = _peak_memory() - before
            if grown > MEMORY:
                verdict = Verdict("memory", f"{grown / 10**9:.2f} GB")
            if verdict.kind in self._allowed:
                self._counts[self._allowed.index(verdict.kind)] += 1
            else:
                self._queue.put((index, *verdict))
        self._place.value = len(indices)


def _judged(check: Callable[[int], Verdict], index: int) -> Verdict:
    try:
        return check(index)
    except MemoryError:
        return Verdict("memory", "MemoryError")
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        return Verdict("other exception", f"{type(error).__name__}: {str(error)[:200]} ({where})")


def _end(code: int | None) -> tuple[str, str]:
    """Kind and detail of the end of a process by a signal, or by an exit."""
    if code in (-signal.SIGPROF, -signal.SIGALRM):
        return "hang", f"over {SECONDS} s"
    return "crash", signal.Signals(-code).name if code and code < 0 else f"exit status {code}"


def _memory() -> tuple[int, int]:
    """Bytes of virtual and of resident memory."""
    virtual, resident, *_ = Path("/proc/self/statm").read_text().split()
    return int(virtual) * resource.getpagesize(), int(resident) * resource.getpagesize()


def _forget_the_peak() -> int:
    """Start to measure the peak of memory anew; return the bytes that are in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory()[1]


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

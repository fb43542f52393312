"""Kill processes that share a cache, a checkpoint folder and model files, and count what is lost.

Run as ``python -m tests.faults.kill --kills 1000``. Eight processes fit, transform and store.
One of them is killed by SIGKILL at a random moment, again and again, and replaced. What it had
acknowledged must then be there, whole and right.
"""

import argparse
import json
import os
import pickle
import random
import selectors
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from sktransfer.activations import streaming
from tests.faults import shared_work
from tests.faults.shared_work import ACTIVITIES, CLOSE, N_PROCESSES, Shared, Worker
from tests.small_estimators import make_extractor

_AT_ONCE = 500  # rows that are checked at once
_SOME = 1_000  # older rows that are checked again each time


def in_fork(function, *args):
    """The result of a function that runs in a forked process: this one opens no cache."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                pickle.dump(function(*args), pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a check failed with status {status}")
    return pickle.loads(content)


class Process:
    """One place among the processes, its lives one after the other, and what they acknowledged."""

    def __init__(self, number, shared, models, expected):
        self.number, self.shared = number, shared
        self.models, self.expected = models, expected
        self.life = 0
        self.checkpoints = {}  # epochs that its unfinished training has in each file
        self.has_stored = False
        self.training = None  # the owner of that training
        self.versions = set()  # those that its own model file may have

    def start(self, job="until_stopped"):
        self.life += 1
        self.shared.activity[self.number] = 0
        self.read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(write_end, job)
        os.close(write_end)
        self.rest = b""

    def _live(self, pipe, job):
        code = 1
        try:
            os.nice(10)  # the one that kills must not wait for the others
            shared_work.silence()
            worker = Worker(self.number, self.life, self.shared, self.models, self.expected, pipe)
            try:
                getattr(worker, job)()
                code = 0
            except BaseException:
                worker.tell("failed", traceback.format_exc()[-3000:])
        finally:
            os._exit(code)

    def read(self):
        """Complete messages that have come; None at their end."""
        content = os.read(self.read_end, 2**16)
        *lines, self.rest = (self.rest + content).split(b"\n")
        return [json.loads(line) for line in lines] if content else None

    def note(self, kind, *values):
        """Take note of a message about its own training or model file."""
        if kind == "begin":
            (self.training,) = values
        elif kind == "checkpoint" and self.training == self.number:
            name, epochs = values
            self.checkpoints[name] = epochs
        elif kind == "ending":
            self.checkpoints = {}
        elif kind == "storing" and values[0] == self.number:
            self.versions.add(values[1])
        elif kind == "stored" and values[0] == self.number:
            self.versions = {values[1]}
            self.has_stored = True

    def end(self):
        os.close(self.read_end)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Crowd:
    """All processes, and the counts of a run."""

    def __init__(self, folder, seed):
        self.shared = Shared(Path(folder))
        for name in ("cache", "checkpoints", "models", "temporary"):
            (self.shared.folder / name).mkdir()
        tempfile.tempdir = str(self.shared.folder / "temporary")
        # Computed by one thread, so that forks may compute too; and their network is loaded.
        models, expected = _models()
        self.random = random.Random(seed)
        self.rows, self.new_rows = set(), set()
        self.counts, self.killed_while, self.faults = Counter(), Counter(), []
        self.selector = selectors.DefaultSelector()
        self.processes = [Process(n, self.shared, models, expected) for n in range(N_PROCESSES)]

    def start(self, process, job="until_stopped"):
        process.start(job)
        self.selector.register(process.read_end, selectors.EVENT_READ, process)

    def listen(self, seconds):
        """Read messages for some time."""
        end = time.monotonic() + seconds
        while self.selector.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                if not self._read(key.data):
                    self._ended(key.data)

    def _read(self, process):
        messages = process.read()
        for kind, *values in messages or ():
            self.counts[kind] += 1
            process.note(kind, *values)
            if kind == "rows":
                self.new_rows.update(values[0])
            if kind == "failed":
                self.faults.append(values[0])
        return messages is not None

    def _ended(self, process):
        """Note a process that ended by itself, which it may only do when it is told to stop."""
        self.selector.unregister(process.read_end)
        code = process.end()
        if code:
            self.faults.append(f"process {process.number} ended with exit code {code}")
        if not self.shared.stop.value:
            self.start(process)

    def kill(self, process):
        os.kill(process.pid, signal.SIGKILL)
        activity = ACTIVITIES[self.shared.activity[process.number]]
        while self._read(process):
            pass
        self.selector.unregister(process.read_end)
        code = process.end()
        if code != -signal.SIGKILL:
            self.faults.append(f"process {process.number} had ended with exit code {code}")
            return
        self.counts["kills"] += 1
        self.killed_while[activity] += 1
        self.faults += _faults_of_files(process)

    def check(self, *, everything=False):
        """Check the rows that were acknowledged since the last time, and some of the others."""
        self.rows |= self.new_rows
        some = sorted(self.rows)
        if not everything:
            some = self.random.sample(some, min(_SOME, len(some)))
            some = sorted(self.new_rows.union(some))
        self.new_rows = set()
        lost, wrong = in_fork(_lost_and_wrong, self.shared.cache, some)
        self.counts.update({"rows checked": len(some), "rows lost": lost, "rows wrong": wrong})
        self.faults += in_fork(_wrong_models, self.processes)

    def finish(self):
        """Stop all processes, do everything once more, and look at what is left."""
        self.shared.stop.value = 1
        self.listen(600)
        self.start(self.processes[0], "finish")
        self.listen(600)
        if self.selector.get_map():
            self.faults.append("a process hangs")
        self.check(everything=True)
        self.counts["rows"] = len(self.rows)
        self.faults += in_fork(_left_behind, self.shared.folder)


def _models():
    models = {}
    with warnings.catch_warnings():
        shared_work.silence()
        for owner in range(N_PROCESSES + 1):
            models[owner] = shared_work.unfitted(owner).fit(*shared_work.data(owner))
    return models, {o: m.predict_proba(shared_work.data(o)[0]) for o, m in models.items()}


def _faults_of_files(process):
    """Sentences on files that a killed process had acknowledged, and that are not as they were."""
    for name, epochs in process.checkpoints.items():
        try:
            path = process.shared.checkpoints / name
            found = len(torch.load(path, weights_only=True)["history"])
        except Exception as error:
            yield f"checkpoint {name} of process {process.number} is lost: {error!r}"
        else:
            if found < epochs:
                yield f"checkpoint {name} has {found} epochs, and {epochs} were acknowledged"
    path = process.shared.model(process.number)
    if process.has_stored or path.exists():
        try:
            _, version = shared_work.opened(path)
        except Exception as error:
            yield f"model file {path.name} is lost: {error!r}"
        else:
            if version not in process.versions:
                yield f"model file {path.name}: version {version}, not {process.versions}"


def _wrong_models(processes):
    """Sentences on model files that do not predict as they should."""
    shared, expected = processes[0].shared, processes[0].expected
    faults = []
    for owner in range(N_PROCESSES + 1):
        path = shared.model(owner)
        if path.exists():
            classifier, _ = shared_work.opened(path)
            found = classifier.predict_proba(shared_work.data(owner)[0])
            if not np.allclose(found, expected[owner], rtol=1e-6):
                faults.append(f"model file {path.name} predicts {found}")
    return faults


def _lost_and_wrong(cache, numbers):
    """How many rows the cache does not hold, and how many it holds with other values."""
    computed, compute = [], streaming.engine_for

    def counting(network, start, inputs, *others):
        computed.append(len(inputs))
        return compute(network, start, inputs, *others)

    wrong = 0
    for first in range(0, len(numbers), _AT_ONCE):
        X = shared_work.pictures(numbers[first : first + _AT_ONCE])
        clean = make_extractor(image_size=shared_work.SIZE).fit_transform(X)
        streaming.engine_for = counting
        found = make_extractor(image_size=shared_work.SIZE, cache=cache).fit_transform(X)
        streaming.engine_for = compute
        wrong += int((~np.isclose(found, clean, **CLOSE).all(1)).sum())
    return sum(computed), wrong


def _left_behind(folder):
    """Sentences on what is in the folders, and should not be."""
    faults = [
        f"left behind: {path.relative_to(folder)}"
        for name in ("checkpoints", "temporary", "models", "cache")
        for path in (folder / name).iterdir()
        if path.suffix != ".skt" and path.name != "activations"
    ]
    with closing(sqlite3.connect(folder / "cache/activations/activations.sqlite")) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        (twice,) = connection.execute(
            "SELECT COUNT(*) - COUNT(DISTINCT space || picture) FROM entries"
        ).fetchone()
    if found != "ok" or twice:
        faults.append(f"the cache's integrity: {found}; {twice} rows are stored twice")
    return faults


def run(folder, kills, *, seed=0, longest=0.4, every=100, say=print):
    """Kill processes so many times, and return the crowd with its counts and faults."""
    crowd = Crowd(folder, seed)
    for process in crowd.processes:
        crowd.start(process)
    for number in range(1, kills + 1):
        crowd.listen(crowd.random.uniform(0.01, longest))
        process = crowd.random.choice(crowd.processes)
        crowd.kill(process)
        crowd.start(process)
        if number % every == 0:
            crowd.check()
            lost, wrong = crowd.counts["rows lost"], crowd.counts["rows wrong"]
            say(
                f"{number} kills, {len(crowd.rows)} rows: {lost} lost, {wrong} wrong; "
                f"{len(crowd.faults)} other faults",
                flush=True,
            )
    crowd.finish()
    return crowd


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--longest", type=float, default=0.4, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        crowd = run(folder, options.kills, seed=options.seed, longest=options.longest)
    print(f"{crowd.counts['kills']} kills in {(time.monotonic() - start) / 60:.1f} minutes:")
    for activity in ACTIVITIES:
        print(f"  {crowd.killed_while[activity]} while {activity}")
    print("Acknowledged:")
    print(
        f"  {crowd.counts['rows']} rows of the cache, checked {crowd.counts['rows checked']} times"
    )
    print(f"  {crowd.counts['checkpoint']} checkpoints, {crowd.counts['fitted']} fits")
    print(f"  {crowd.counts['stored']} model files")
    print(f"Rows lost: {crowd.counts['rows lost']}, wrong: {crowd.counts['rows wrong']}")
    print(f"Other faults: {len(crowd.faults)}")
    for fault in crowd.faults[:20]:
        print(f"  {fault}", file=sys.stderr)
    return int(bool(crowd.faults or crowd.counts["rows lost"] or crowd.counts["rows wrong"]))


if __name__ == "__main__":
    sys.exit(main())

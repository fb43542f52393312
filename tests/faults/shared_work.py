"""What each of several processes does with one cache, one checkpoint folder and model files.

It acknowledges through a pipe what is stored, as soon as the library has said so by returning.
"""

import contextlib
import json
import os
import warnings
from ctypes import c_byte, c_int64
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray, RawValue
from pathlib import Path

import numpy as np

from sktransfer import load, save
from sktransfer.activations.store.cache import Cache
from sktransfer.training.checkpoints import Checkpoint, CheckpointFiles
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

N_PROCESSES = 8
SHARED = N_PROCESSES  # whose fits and model file belong to all processes
SIZE = 16
# Values that were computed in batches of other sizes differ in their last bits, and trainings on
# them in more.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
TRAINED_CLOSE = {"rtol": 0, "atol": 1e-3}
ACTIVITIES = ("computing", "writing to the cache", "writing a checkpoint", "writing a model file")


@dataclass
class Shared:
    """Folders, and memory that the processes share."""

    folder: Path
    newest: c_int64 = field(default_factory=lambda: RawValue(c_int64, 100))
    activity: list = field(default_factory=lambda: RawArray(c_byte, N_PROCESSES + 1))
    stop: c_byte = field(default_factory=lambda: RawValue(c_byte, 0))

    @property
    def cache(self):
        return self.folder / "cache"

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    def model(self, owner):
        return self.folder / "models" / f"{owner}.skt"


def pictures(numbers):
    """A picture for each number, (n, SIZE, SIZE, 3) uint8."""
    shape = (SIZE, SIZE, 3)
    return np.stack([np.random.default_rng(n).integers(0, 256, shape, np.uint8) for n in numbers])


def data(owner):
    return make_pictures(16, SIZE, seed=owner)


def unfitted(owner, **parameters):
    """A classifier of a process's own, or of all: that one trains stages, too."""
    kind = (
        {"unfreeze_depth": 1, "max_epochs": 2}
        if owner == SHARED
        else {"hidden_layer_sizes": (4,), "max_epochs": 6}
    )
    return make_classifier(image_size=SIZE, batch_size=8, random_state=owner, **kind, **parameters)


def store(classifier, path, version):
    """Write a model file; the version is kept in a parameter that predictions do not need."""
    save(classifier.set_params(n_iter_no_change=version), path)


def opened(path):
    """The classifier in a model file, and its version."""
    classifier = load(path)
    return classifier, classifier.n_iter_no_change


class Worker:
    """One process; fitted classifiers, and their probabilities, are by owner."""

    def __init__(self, number, life, shared, models, expected, pipe):
        self.number, self.shared, self.pipe = number, shared, pipe
        self.models, self.expected = models, expected
        self.rng = np.random.default_rng((number, life))
        self.version = 1_000_000 * life
        self._watch()

    def tell(self, *message):
        os.write(self.pipe, json.dumps(message).encode() + b"\n")  # so short: whole or not at all

    def until_stopped(self):
        own, shared = self.number, SHARED
        todo = [self.transform] * 6
        todo += [lambda o=owner: self.fit(o) for owner in (own, own, shared)]
        todo += [lambda o=owner: self.store(o) for owner in (own, own, shared) * 2]
        while not self.shared.stop.value:
            todo[self.rng.integers(len(todo))]()

    def finish(self):
        """Do everything once more that any process was doing, as the user would after a crash."""
        self.transform()
        for owner in range(N_PROCESSES + 1):
            self.fit(owner)
            self.store(owner)

    def transform(self):
        """Some pictures that others are about to ask for too, or have asked for."""
        newest = self.shared.newest.value = self.shared.newest.value + 4
        numbers = self.rng.choice(np.arange(newest - 30, newest), 10, replace=False).tolist()
        features = make_extractor(image_size=SIZE, cache=self.shared.cache).fit_transform(
            pictures(numbers)
        )
        self.tell("rows", numbers)
        clean = make_extractor(image_size=SIZE).fit_transform(pictures(numbers[:1]))
        np.testing.assert_allclose(features[:1], clean, **CLOSE)

    def fit(self, owner):
        self.tell("begin", owner)
        X, y = data(owner)
        folders = {"cache": self.shared.cache, "checkpoint_dir": self.shared.checkpoints}
        found = unfitted(owner, **folders).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, self.expected[owner], **TRAINED_CLOSE)
        self.tell("fitted", owner)

    def store(self, owner):
        self.version += 1
        self.tell("storing", owner, self.version)
        with self._doing("writing a model file"):
            store(self.models[owner], self.shared.model(owner), self.version)
        self.tell("stored", owner, self.version)

    @contextlib.contextmanager
    def _doing(self, what):
        self.shared.activity[self.number] = ACTIVITIES.index(what)
        yield
        self.shared.activity[self.number] = 0

    def _watch(self):
        """Tell of checkpoints that are written, and note what this process is doing."""
        write_checkpoint, write_rows = Checkpoint._write, Cache.write
        remove = CheckpointFiles.remove

        def checkpoint(callback, net, *, finished):
            with self._doing("writing a checkpoint"):
                write_checkpoint(callback, net, finished=finished)
            self.tell("checkpoint", callback.path.name, len(net.history))

        def rows(cache, space, arrays):
            with self._doing("writing to the cache"):
                write_rows(cache, space, arrays)

        def removed(files):
            self.tell("ending")
            remove(files)

        Checkpoint._write, Cache.write, CheckpointFiles.remove = checkpoint, rows, removed


def silence():
    """Make warnings errors: a cache that can't be used, or a checkpoint that can't be read."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="Training ended after")

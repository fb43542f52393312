"""Fits that are sent a signal when a certain phase begins, each in a process of its own."""

import os
import pickle
import signal
import sqlite3
import threading
import time
import warnings
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from sktransfer.activations import streaming
from sktransfer.activations.store import database
from sktransfer.estimators import choices, fit_model
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.selection import depth
from sktransfer.training import checkpoints
from sktransfer.training.callbacks import RecordRate
from sktransfer.training.lbfgs import ProbeNet
from sktransfer.training.net import TransferNet
from tests.conftest import HANGS, make_pictures
from tests.small_estimators import make_classifier

X, Y = make_pictures(24, 16)
HIDDEN = {"hidden_layer_sizes": (4,), "max_epochs": 3}
STAGES = {"unfreeze_depth": 1, "max_epochs": 2}
CALIBRATED = HIDDEN | {"validation_fraction": 0.25, "calibrate": "temperature"}
EVIDENCE = {"resize": "auto", "unfreeze_depth": "auto", "max_epochs": 2}


@dataclass
class Phase:
    """A phase, entered by the nth call of a function, and what Ctrl-C in it ends with."""

    place: object
    name: str
    parameters: dict = field(default_factory=dict)
    call: int = 1
    trained: bool = False  # the model trained so far is kept


PHASES = {
    "reading pictures": Phase(Preprocessing, "__call__", call=5),
    "running frozen stages": Phase(streaming, "engine_for", call=2),
    "writing to the cache": Phase(database, "_checksum", call=5),
    "comparing resize": Phase(choices, "choose_resize", EVIDENCE),
    "comparing depths": Phase(depth, "_tried", EVIDENCE, call=2),
    "trying a depth": Phase(TransferNet, "train_step_single", EVIDENCE),
    "solving the head": Phase(ProbeNet, "train_step_single", call=4, trained=True),
    "training the head": Phase(TransferNet, "train_step_single", HIDDEN, call=3, trained=True),
    "training stages": Phase(TransferNet, "train_step_single", STAGES, call=6, trained=True),
    "recording an epoch": Phase(RecordRate, "on_epoch_end", HIDDEN, call=2, trained=True),
    "writing a checkpoint": Phase(checkpoints, "_plain", HIDDEN, call=3, trained=True),
    "replacing a checkpoint": Phase(os, "replace", HIDDEN, call=2, trained=True),
    "calibrating": Phase(fit_model, "fitted_temperature", CALIBRATED),
}


def classifier(phase, folder=None):
    folders = {} if folder is None else {"cache": folder / "a", "checkpoint_dir": folder / "b"}
    return make_classifier(image_size=16, batch_size=8, **PHASES[phase].parameters, **folders)


def fits(folder, number):
    """What a signal in each phase ended with, by the name of the phase."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="Training ended after")
    before = make_classifier(image_size=16).fit(X, 1 - Y)  # loads the network, too
    return {phase: _one(folder / phase, phase, number, before) for phase in PHASES}


def _one(folder, phase, number, before):
    folder.mkdir()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setsid()  # a group of its own, for the question whether a process is left
            found = _interrupted_fit(folder, phase, number, before)
            os.write(write_end, pickle.dumps(found))
            code = 0
        except BaseException as error:
            os.write(write_end, pickle.dumps(repr(error)))
        finally:
            os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(pid, 0)
    found = pickle.loads(content) if content else None
    again = classifier(phase, folder).fit(X, Y).predict_proba(X)
    clean = _clean(phase)
    return {
        "exit code": os.waitstatus_to_exitcode(status),
        "found": found,
        "orphans": _is_group(pid),
        "difference": float(np.abs(again - clean).max()),
        "checkpoints": os.listdir(folder / "b") if (folder / "b").exists() else [],
        "cache": _integrity(folder / "a"),
    }


_CLEAN = {}


def _clean(phase):
    """Probabilities of a fit that nothing disturbs; phases with the same parameters share it."""
    key = repr(PHASES[phase].parameters)
    if key not in _CLEAN:
        _CLEAN[key] = classifier(phase).fit(X, Y).predict_proba(X)
    return _CLEAN[key]


def _interrupted_fit(folder, phase, number, before):
    """Fit again, with a signal on the way: outcome, warnings, and what the classifier then is."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A process under nohup ignores SIGHUP, and all that it starts do so, too.
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    model = classifier(phase, folder)
    model.__dict__.update({k: v for k, v in vars(before).items() if k not in model.get_params()})
    earlier = before.predict_proba(X)  # without the cache, which is to be empty
    calls = _signal_at(PHASES[phase], number)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model.fit(X, Y)
            outcome = "fitted"
        except KeyboardInterrupt:
            outcome = "interrupted"
    probabilities = model.predict_proba(X)
    return {
        "sent": len(calls) >= PHASES[phase].call,
        "outcome": outcome,
        "warnings": [warning.category.__name__ for warning in told],
        "as before": np.array_equal(probabilities, earlier),
        "finite": bool(np.isfinite(probabilities).all()),
        "threads": [t.name for t in threading.enumerate() if t is not threading.main_thread()],
        "handler": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    }


def _signal_at(phase, number):
    """Send the signal to this process when a phase begins; the list grows with each call."""
    calls, original = [], getattr(phase.place, phase.name)

    def entered(*args, **kwargs):
        calls.append(1)
        if len(calls) == phase.call:
            os.kill(os.getpid(), number)
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.01)  # the main thread has the signal before this one is done
        return original(*args, **kwargs)

    setattr(phase.place, phase.name, entered)
    return calls


def _is_group(pid):
    """Whether processes are left of a group, HANGS seconds at most after its leader's end."""
    end = time.monotonic() + HANGS / 10
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True


def _integrity(cache):
    with closing(sqlite3.connect(cache / "activations" / "activations.sqlite")) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]

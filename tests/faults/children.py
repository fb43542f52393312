"""Run functions in processes that a fault may end, each forked from one that has only imported.

To import torch takes seconds; a fork of a process that has done so takes none. That process has
computed nothing and opened no cache, so that its children are as fresh as new processes.
"""

import faulthandler
import multiprocessing
import sys
import traceback
from typing import NamedTuple

from tests.conftest import HANGS

CONTEXT = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
if sys.platform != "win32":
    CONTEXT.set_forkserver_preload(["tests.faults.prepared"])


class Ended(NamedTuple):
    """How a process ended: its exit code, negative for a signal, and what it sent."""

    code: int
    sent: list


def in_child(function, *args):
    """The result of a function that runs in a new process, which must end by itself.

    Raises
    ------
    AssertionError
        With its traceback if the function raises, or with the exit code if the process dies.
    """
    ended = ended_child(_answer, function, args)
    assert ended.code == 0, f"exit code {ended.code}: {ended.sent}"
    failure, result = ended.sent[-1]
    assert failure is None, failure
    return result


def _answer(send, function, args):
    try:
        send((None, function(*args)))
    except BaseException:
        send((traceback.format_exc(), None))


def ended_child(function, *args, then=None):
    """Run ``function(send, *args)`` in a new process until it ends in whatever way.

    Parameters
    ----------
    function : callable
        Of a module, since it is found by its name there.
    *args : objects that can be pickled
    then : callable, optional
        Called with the process and each message, as soon as it comes.
    """
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_run, args=(theirs, function, args))
    process.start()
    theirs.close()
    sent = []
    try:
        while ours.poll(HANGS):
            try:
                sent.append(ours.recv())
            except EOFError:
                process.join(HANGS)
                break
            if then is not None:
                then(process, sent[-1])
        assert process.exitcode is not None, f"{function.__name__} hangs; it sent {sent}"
        return Ended(process.exitcode, sent)
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(pipe, function, args):
    faulthandler.dump_traceback_later(HANGS - 10, exit=True)
    function(pipe.send, *args)
    faulthandler.cancel_dump_traceback_later()

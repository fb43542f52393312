"""What the fuzzers are for must be seen if it happens."""

import os
import signal
import time

from tests.fuzz.supervision import Verdict, run


def misbehave(index):
    if index == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif index == 5:
        raise KeyError("a key")
    elif index == 6:
        raise MemoryError
    elif index == 7:
        bytearray(200 * 2**20)
    elif index == 8:
        os._exit(3)
    elif index == 9:
        signal.raise_signal(signal.SIGPROF)  # as after too much time
    elif index == 10:
        return Verdict("strange", "of another kind")
    time.sleep(0)
    return Verdict("fine")


def test_all_misbehaviour_is_found(monkeypatch):
    monkeypatch.setattr("tests.fuzz.supervision.MEMORY", 100 * 2**20)
    result = run(misbehave, 12, ["fine"], n_processes=2)
    assert [(index, kind) for index, kind, _ in result.findings] == [
        (3, "crash"),
        (5, "other exception"),
        (6, "memory"),
        (7, "memory"),
        (8, "crash"),
        (9, "hang"),
        (10, "strange"),
    ]
    assert result.counts["fine"] == 5
    details = [detail for *_, detail in result.findings]
    assert details[0] == "SIGSEGV"
    assert details[1].startswith("KeyError: 'a key'")


def test_a_hang_ends(monkeypatch):
    monkeypatch.setattr("tests.fuzz.supervision.SECONDS", 0.2)

    def turn_round(index):
        while index == 1:
            pass
        return Verdict("fine")

    result = run(turn_round, 4, ["fine"], n_processes=1)
    assert [(each.index, each.kind) for each in result.findings] == [(1, "hang")]
    assert result.counts["fine"] == 3

import signal
import threading

import pytest

from sktransfer.training.interruption import CtrlC, ctrl_c_told_apart


@pytest.fixture
def usual():
    """Python's handler, as in a program of a user."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_signal_is_told_apart_within_the_block_alone(usual):
    with pytest.raises(CtrlC), ctrl_c_told_apart():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is usual
    with ctrl_c_told_apart():
        pass
    with pytest.raises(KeyboardInterrupt) as raised:
        signal.raise_signal(signal.SIGINT)
    assert type(raised.value) is KeyboardInterrupt


def test_blocks_may_be_nested(usual):
    with ctrl_c_told_apart(), ctrl_c_told_apart():
        pass
    assert signal.getsignal(signal.SIGINT) is usual


@pytest.mark.usefixtures("usual")
def test_what_a_callback_raises_stays_as_it_is():
    with pytest.raises(KeyboardInterrupt) as raised, ctrl_c_told_apart():
        raise KeyboardInterrupt
    assert type(raised.value) is KeyboardInterrupt


@pytest.mark.usefixtures("usual")
def test_a_handler_of_the_user_stays():
    got = []
    signal.signal(signal.SIGINT, lambda *_: got.append("mine"))
    with ctrl_c_told_apart():
        signal.raise_signal(signal.SIGINT)
    assert got == ["mine"]


def test_other_threads_set_no_handler(usual):
    found = []

    def run():
        with ctrl_c_told_apart():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [usual]

"""Tell Ctrl-C apart from callbacks that end training: both raise KeyboardInterrupt."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class CtrlC(KeyboardInterrupt):
    """An interruption that came by a signal."""


@contextlib.contextmanager
def ctrl_c_told_apart() -> Iterator[None]:
    """Raise `CtrlC` for the signal of Ctrl-C while a block runs.

    Only where Python would raise KeyboardInterrupt: a handler of the user stays.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    # Other threads get no signals, and may set no handlers.
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    before = signal.signal(signal.SIGINT, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise CtrlC

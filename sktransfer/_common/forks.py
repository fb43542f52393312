"""Repair state of the process in the children of `os.fork`."""

import os
from collections.abc import Callable


def after_fork_in_child(function: Callable[[], None]) -> None:
    """Register `function` to be called in each process that is forked from this one.

    Only the thread that forks exists in the child, so a lock that another thread held at that
    moment would never be released there. On systems without `os.fork` this does nothing.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)

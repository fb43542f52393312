"""What a child of `os.fork` must put right before it does anything else."""

import os
from collections.abc import Callable


def in_forked_children(function: Callable[[], None]) -> None:
    """Call `function` first thing in every process that is forked from this one.

    Only the thread that forks lives on in the child: locks that other threads held there would
    never be released. Systems without forks have nothing to put right.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)

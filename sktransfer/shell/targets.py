"""Files that the commands write, checked before any work is done for them."""

from __future__ import annotations

from pathlib import Path

from sktransfer._common.files import check_writable


def check_target(path: str, *inputs: str) -> Path:
    """The path of a file that is to be written.

    Raises
    ------
    OSError
        If there is a folder of that name, or no file can be written there.
    ValueError
        If it is one of the files that are read.
    """
    target = Path(path)
    for each in inputs:
        if target.exists() and Path(each).exists() and target.samefile(each):
            raise ValueError(f"-o names {each}, which is read. Give the name of another file.")
    check_writable(target)
    return target

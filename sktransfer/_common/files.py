"""Detect that a file has changed, without reading it, and replace one without leaving a half."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sktransfer._common.left_behind import unfinished_file


def file_identity(path: str | os.PathLike[str]) -> str | None:
    """Return size, times and inode of a regular file as a string, or None if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    # Size and mtime are not enough: `cp -p` over a file of the same size can keep both. It
    # still changes ctime, and replacing the file by another one changes the inode.
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise unless a file can be written there; nothing is left behind.

    Raises
    ------
    OSError
        If the path is a folder, its folder does not exist, or can't be written into.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder. Give the name of a file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} of {target} does not exist. Make it.")
    target = Path(os.path.realpath(target))
    if not target.exists() or target.is_file():
        with _naming(target), unfinished_file(target.parent):
            pass


@contextlib.contextmanager
def replaced_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path for a new file, which replaces `path` at the end of the block.

    A kill leaves the old file or the new one, whole. If the block raises, the new file is removed,
    and an old one stays as it was. What a link leads to is replaced, and not the link. What is no
    file, such as a pipe, is written directly.

    Raises
    ------
    OSError
        If the file can't be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    with _naming(target), unfinished_file(target.parent) as unfinished:
        yield unfinished
        if target.is_file():  # a new file has the permissions that the process gives
            unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
        _sync(unfinished)
        unfinished.replace(target)
        with contextlib.suppress(OSError):  # Windows, and some network disks, sync no folders
            _sync(target.parent)


@contextlib.contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Let errors of a disk name the file that the user knows, and not the unfinished one."""
    try:
        yield
    except OSError as error:
        is_named = error.filename is not None and not str(error.filename).endswith(".unfinished")
        if error.errno is None or is_named:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def _sync(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder.

    Else the new name could reach the disk before the content, and lead to an empty file after
    the power has failed.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

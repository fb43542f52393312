"""Files and folders for the time of a block, which a later block removes if a kill left them.

Each is locked while its process lives, and the system frees the lock when the process ends, in
whatever way. One that is not locked any more was left behind.
"""

import contextlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows, where nothing is removed that a kill has left
    fcntl = None  # type: ignore[assignment]

# Not all network disks tell the locks of one machine to another, so each removes its own only.
_MACHINE = blake2b(platform.node().encode(), digest_size=4).hexdigest()
_OWN = f"{_MACHINE}-[0-9a-f]{{32}}"


_UNFINISHED = re.compile(rf"\.{_OWN}\.unfinished")
_FOLDERS = re.compile(f"sktransfer-{_OWN}")


@contextlib.contextmanager
def unfinished_file(folder: Path) -> Iterator[Path]:
    """Give a new, empty file in a folder, which is removed after the block if it is still there.

    Its content is to be written into it, and not into another one that takes its place: that
    would not be locked.

    Raises
    ------
    OSError
        If no file can be made there.
    """
    remove_unfinished(folder)
    place = folder / f".{_MACHINE}-{uuid4().hex}.unfinished"
    with _locked(place, lambda: place.touch(exist_ok=False)):
        try:
            yield place
        finally:
            with contextlib.suppress(OSError):  # Windows refuses while a scanner has it open
                place.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files that killed processes have left in a folder."""
    _remove_left(folder, _UNFINISHED, os.unlink)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a new folder among the system's temporary files, which is removed after the block."""
    folder = Path(tempfile.gettempdir())
    _remove_left(folder, _FOLDERS, shutil.rmtree)
    place = folder / f"sktransfer-{_MACHINE}-{uuid4().hex}"
    with _locked(place, lambda: place.mkdir(mode=0o700)):
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _locked(place: Path, make: Callable[[], None]) -> Iterator[None]:
    """Make a file or folder, and hold it locked until the end of the block."""
    if fcntl is None:
        make()
        yield
        return
    # Another process may take it for left behind before it is locked.
    while True:
        make()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(place, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a disk without locks, where nothing is removed
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, place):
                break
            os.close(descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False


def _remove_left(folder: Path, names: re.Pattern[str], remove: Callable[[str], None]) -> None:
    """Remove what killed processes of this user and machine have left in a folder."""
    if fcntl is None:
        return
    left = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [entry.path for entry in entries if names.fullmatch(entry.name)]
    for path in left:
        with contextlib.suppress(OSError):  # in use, of another user, or already gone
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
            finally:
                os.close(descriptor)

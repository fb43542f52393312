"""How a file looks from outside: what tells that it is still the one that was read."""

import os
import stat


def file_identity(path: str | os.PathLike[str]) -> str | None:
    """Size, times and inode of a regular file, in words; None if there is none.

    The inode and the time of the last change of any kind are among them: whoever copies a file
    with its time, over one of the same size, changes nothing else.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"

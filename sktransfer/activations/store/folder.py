"""The folder of a store: the files in it that the store owns, and who else may write to it."""

import contextlib
import os
import re
import stat
from pathlib import Path
from uuid import uuid4

from sktransfer._common.environment import shares_cache
from sktransfer.exceptions import ParameterError

FOLDER = "activations"
FILE = "activations.sqlite"

# All files that a store ever writes: the database, and those of SQLite beside it.
_OWN = (FILE, f"{FILE}-journal", f"{FILE}-wal", f"{FILE}-shm")
# The name that a store's folder is given before it is removed.
_LEFT_BEHIND = re.compile(f"{FOLDER}-[0-9a-f]{{32}}")
# SQLite's locks do not hold between the machines of a network disk.
_NETWORK_DISKS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs"),
    *("lustre", "nfs", "nfs4", "smb3", "smbfs"),
}


def cache_folder(cache: str | os.PathLike[str]) -> Path:
    """The folder that the parameter `cache` names, with ``~`` replaced by the home folder.

    Raises
    ------
    ParameterError
        If it can't be the name of a folder.
    """
    name = os.fspath(cache)
    if not name or "\0" in name:
        raise ParameterError(
            f"cache must name a folder, or be None for no cache; got {name!r}. For the current "
            "folder, say cache='.'."
        )
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ParameterError(
            f"cache={name!r}: there is no such home folder. Give the full path."
        ) from error


def make_home(folder: Path) -> Path:
    """The store's own folder in `folder`, created if it is missing.

    Raises
    ------
    OSError
        If it can't be created, or must not be used: on a network disk, or where other users
        could write wrong activations.
    """
    if _is_on_network_disk(folder):
        raise OSError("it is on a network disk, where SQLite's locks can't be trusted")
    _check_trust(folder, is_own=False)
    home = folder / FOLDER
    if not home.is_dir():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shares_cache():  # the users who may write to the folder are to write to the store
            home.chmod(stat.S_IMODE(folder.stat().st_mode))
    for path in (home, *own_files(home)):
        _check_trust(path)
    return home


def own_files(home: Path) -> list[Path]:
    """The files in a store's folder that the store wrote."""
    return [home / name for name in _OWN if (home / name).is_file()]


def holds_no_store(folder: Path) -> bool:
    """Return whether a folder holds other files, and neither a store nor remains of one.

    Each folder is listed once: while other processes create and remove a store, two listings
    may not agree.
    """
    try:
        around = {entry.name: entry for entry in os.scandir(folder)}
        if FOLDER not in around:
            return bool(around) and not any(_LEFT_BEHIND.fullmatch(name) for name in around)
        if not around[FOLDER].is_dir():
            return True
        is_own = [entry.name in _OWN and entry.is_file() for entry in os.scandir(folder / FOLDER)]
        return bool(is_own) and not any(is_own)
    except FileNotFoundError:
        return False


def discard(folder: Path) -> None:
    """Remove the files of a store, damaged or not, and no other file."""
    home = folder / FOLDER
    if _holds_nothing_else(home):
        # Renamed as a whole first: file by file, another process could open a new database
        # beside the old one's journal.
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.replace(home, folder / f"{FOLDER}-{uuid4().hex}")
    # Also folders that were renamed by a process that was killed before it could remove them.
    left = [place for place in folder.glob(f"{FOLDER}-*") if _LEFT_BEHIND.fullmatch(place.name)]
    for place in (home, *left):
        # The database first: SQLite discards a journal that has no database.
        for file in own_files(place):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder with other files stays, and so does a link
            place.rmdir()


def _holds_nothing_else(home: Path) -> bool:
    try:
        return not home.is_symlink() and set(home.iterdir()) == set(own_files(home))
    except OSError:
        return False


def _check_trust(path: Path, *, is_own: bool = True) -> None:
    """Refuse a file or folder that other users could change: stored activations are trusted.

    Parameters
    ----------
    path : Path
    is_own : bool
        True if the store created it. The folder around the store may be writable by its group,
        as every new folder is on many systems: a store that a member of the group puts in the
        place of this one belongs to that member, and is refused for that.

    Raises
    ------
    PermissionError
    """
    if not hasattr(os, "geteuid") or shares_cache():
        return
    try:
        found = path.stat()
    except OSError:
        return  # nothing is there that could be trusted
    mode, me = stat.S_IMODE(found.st_mode), os.geteuid()
    if is_own:
        open_to = mode & (stat.S_IWGRP | stat.S_IWOTH)
    else:  # in folders like /tmp all may write, but only owners may rename or remove their files
        open_to = mode & stat.S_IWOTH if not mode & stat.S_ISVTX else 0
    if found.st_uid not in (me, 0):
        problem = f"{path} belongs to user {found.st_uid}, and this process to user {me}"
        remedy = "use a folder of your own"
    elif open_to:
        problem = f"others may write to {path} (mode {mode:04o})"
        remedy = (
            f"run clear_cache on the cache folder, and `chmod go-w '{path}'` if it is still there"
        )
    else:
        return
    raise PermissionError(
        f"{problem}, so others could put wrong activations there. To keep the cache to yourself, "
        f"{remedy}; to share it with people whom you trust, set the environment variable "
        "SKTRANSFER_SHARED_CACHE=1"
    )


def _is_on_network_disk(folder: Path) -> bool:
    """Return whether Linux's list of mounts shows a network disk at a folder."""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    mounts = {_unescaped(where): kind for _, where, kind, *_ in (line.split() for line in lines)}
    place = Path(os.path.realpath(folder))
    # The innermost mount comes first, and is the one that holds the folder.
    kinds = [mounts[str(part)] for part in (place, *place.parents) if str(part) in mounts]
    return bool(kinds) and kinds[0] in _NETWORK_DISKS


def _unescaped(where: str) -> str:
    """The path of a mount point: the list writes a space as backslash 040."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), where)

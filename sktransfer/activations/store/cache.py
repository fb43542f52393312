"""The store as passes use it: a fault of the disk costs time, and changes no result."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from sktransfer._common.environment import cache_size
from sktransfer._common.warning import warn
from sktransfer.activations.store import models
from sktransfer.activations.store.connection import (
    DamagedError,
    ForeignFileError,
    NewerFormatError,
    is_damage,
    is_foreign,
)
from sktransfer.activations.store.database import Store, StoredFile
from sktransfer.activations.store.folder import (
    FILE,
    FOLDER,
    cache_folder,
    discard,
    holds_no_store,
    make_home,
    own_files,
)
from sktransfer.exceptions import CacheWarning, ParameterError

logger = logging.getLogger("sktransfer")
T = TypeVar("T")

_NOTHING = {"rows": 0, "pictures": 0, "files": 0}


@dataclass(frozen=True)
class CacheInfo:
    """Contents and size of a cache folder.

    Parameters
    ----------
    folder : str
    rows : int
        Stored activations: one for each picture, stage, weights and preprocessing.
    pictures : int
        Different pictures among them.
    files : int
        Picture files whose digests are remembered.
    size : int
        Bytes on disk.
    limit : int
        Largest number of bytes that it may take.
    """

    folder: str
    rows: int
    pictures: int
    files: int
    size: int
    limit: int


def cache_info(folder: str | os.PathLike[str]) -> CacheInfo:
    """Contents and size of a folder given as ``cache=``.

    Parameters
    ----------
    folder : str or path-like

    Returns
    -------
    CacheInfo
        With the fields ``folder``, ``rows`` (stored activations), ``pictures`` (different
        pictures among them), ``files`` (picture files whose digests are remembered), ``size``
        (bytes on disk) and ``limit`` (largest number of bytes that it may take, set by the
        environment variable ``SKTRANSFER_CACHE_SIZE``). In a folder without a store, all
        numbers except ``limit`` are 0.

    Warns
    -----
    CacheWarning
        If the folder can't be used; its numbers are then 0.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sktransfer import PretrainedFeatureExtractor, cache_info, load_clipart
    >>> paths, _ = load_clipart(return_X_y=True)
    >>> with TemporaryDirectory() as folder:
    ...     extractor = PretrainedFeatureExtractor("efficientnet_lite0", cache=folder)
    ...     features = extractor.fit_transform(paths[:3])
    ...     cache_info(folder).rows
    3
    """
    place, counts, size = cache_folder(folder), _NOTHING, 0
    home = place / FOLDER
    # Opened only if there is something to open: opening a store creates it. A plain file is
    # opened too, for the warning that it can't be used.
    if own_files(home) or place.is_file():
        with Cache(place) as cache:
            counts = cache.counts()
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in own_files(home))
    return CacheInfo(str(place), **counts, size=size, limit=cache_size())


def clear_cache(folder: str | os.PathLike[str]) -> None:
    """Remove everything stored in a folder given as ``cache=``, even if it is damaged.

    Only files that the store wrote are removed, and the folder ``activations`` if nothing
    else is in it. Estimators that are using the folder finish without it.

    Parameters
    ----------
    folder : str or path-like
        Nothing is done if it is missing or empty.

    Raises
    ------
    ParameterError
        If the folder holds other files and no store.
    OSError
        If the store can't be removed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sktransfer import cache_info, clear_cache
    >>> with TemporaryDirectory() as folder:
    ...     clear_cache(folder)
    ...     cache_info(folder).size
    0
    """
    place = cache_folder(folder)
    if is_foreign(place / FOLDER / FILE) or holds_no_store(place):
        raise ParameterError(
            f"clear_cache: {str(place)!r} is no cache, as no store is in it; nothing was removed. "
            "Pass the folder that estimators were given as cache=."
        )
    discard(place)


class Cache:
    """A store that may be missing or fail at any time; a context manager.

    Where the store fails, every method returns what an empty store would. A damaged store is
    replaced by a new one, once; after any other fault, or a second one, the store is not used
    until the next pass. The user is warned once.

    Parameters
    ----------
    folder : str, path-like or None
        None for no store.

    Raises
    ------
    ParameterError
        If `folder` can't be the name of a folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else cache_folder(folder)
        self._store: Store | None = None
        self._home: int | None = None
        self._was_renewed = False
        self._has_warned = False

    @property
    def is_open(self) -> bool:
        """True if there is a store to read from and write to."""
        return self._store is not None

    def __enter__(self) -> "Cache":
        if self._folder is not None:
            self._attempt(lambda: None, None)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if self._store is not None and kind is None:
            self._ask(Store.mark_used, None)
        self._close()

    def read(self, space: bytes, pictures: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Stored arrays of a space, by picture; pictures without one are left out."""
        return self._ask(lambda store: store.read(space, pictures), {})

    def holds(self, space: bytes, pictures: Sequence[bytes]) -> set[bytes]:
        """The pictures that seem to have an entry in a space; others are evicted before it."""
        return self._ask(lambda store: store.holds(space, pictures, spare=True), set())

    def write(self, space: bytes, arrays: Mapping[bytes, np.ndarray]) -> None:
        """Store an array for each picture."""
        self._ask(lambda store: store.write(space, arrays), None)

    def files(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """Remembered digests of files, by path."""
        return self._ask(lambda store: store.files(paths), {})

    def remember_files(self, files: Mapping[str, StoredFile]) -> None:
        """Remember the digests of files."""
        if files:
            self._ask(lambda store: store.remember_files(files), None)

    def get_model(self, key: bytes) -> bytes | None:
        """The converted network stored under `key`; None without one."""
        return self._ask(lambda store: models.get_model(store, key), None)

    def put_model(self, key: bytes, model: bytes) -> None:
        """Store a converted network."""
        self._ask(lambda store: models.put_model(store, key, model), None)

    def counts(self) -> dict[str, int]:
        """Numbers of stored activations, of pictures and of files."""
        return self._ask(Store.counts, _NOTHING)

    def _ask(self, question: Callable[[Store], T], otherwise: T) -> T:
        """The store's answer; `otherwise` without a store, or where it fails."""
        if self._store is None:
            return otherwise
        store = self._store
        return self._attempt(lambda: question(store), otherwise)

    def _attempt(self, action: Callable[[], T], otherwise: T) -> T:
        """Do something with the store, which is opened first if it is not open."""
        try:
            if self._store is None:
                self._open()
            return action()
        except _FAULTS as error:
            damaged = is_damage(error)
            self._warn(error, damaged)
            if damaged and not self._was_renewed:
                self._renew()
            else:
                self._close()
            return otherwise

    def _open(self) -> None:
        assert self._folder is not None
        limit = cache_size()  # raises for an invalid setting, before anything is opened
        self._folder = self._folder.absolute()  # the process may change its folder
        home = make_home(self._folder)
        if hasattr(os, "O_DIRECTORY"):
            # Held open, so that no other folder gets its inode number.
            self._home = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        self._store = Store(self._folder, limit)

    def _renew(self) -> None:
        """Replace a damaged store by a new one."""
        assert self._folder is not None
        self._was_renewed = True
        # Another process may have met the same damage first: its new store must not go too.
        by_another = self._home is not None and not _is_at(self._home, self._folder / FOLDER)
        self._close()
        try:
            if not by_another:
                discard(self._folder)
            self._open()
        except _FAULTS as error:
            self._close()
            # Logged, no second warning: the user was warned of the damage a moment ago.
            logger.warning("cache=%r can't be renewed: %s", str(self._folder), error)

    def _close(self) -> None:
        if self._store is not None:
            with contextlib.suppress(sqlite3.Error):  # it is given up either way
                self._store.__exit__(None, None, None)
            self._store = None
        if self._home is not None:
            os.close(self._home)
            self._home = None

    def _warn(self, error: BaseException, damaged: bool) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        consequence = (
            f"the damaged {FILE} in it is replaced by a new one"
            if damaged
            else "activations are computed without it"
        )
        reason = str(error)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            # SQLite says the same of both.
            reason = f"the disk, or the SKTRANSFER_CACHE_SIZE of {cache_size():,} bytes, is full"
        warn(
            f"cache={str(self._folder)!r} can't be used: {reason}. So {consequence}; results stay "
            "the same. Give another folder, or cache=None.",
            CacheWarning,
        )


# Faults of the disk or of a file on it. Other errors are mistakes of this library, and raise.
# UnicodeDecodeError: Python can't decode SQLite's message about a damaged name.
_FAULTS = (
    *(sqlite3.Error, OSError, UnicodeDecodeError),
    *(NewerFormatError, ForeignFileError, DamagedError),
)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open folder is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False

"""The store as it is used: whatever happens to the disk costs time and nothing else."""

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
    """What a cache folder holds.

    Parameters
    ----------
    folder : str
    rows : int
        Stored activations: one for each picture, stage, weights and preprocessing.
    pictures : int
        Different pictures among them.
    files : int
        Files whose content is remembered.
    size : int
        Bytes on disk.
    limit : int
        Bytes that it may take.
    """

    folder: str
    rows: int
    pictures: int
    files: int
    size: int
    limit: int


def cache_info(folder: str | os.PathLike[str]) -> CacheInfo:
    """What the folder given as ``cache=`` holds.

    Parameters
    ----------
    folder : str or path-like

    Returns
    -------
    CacheInfo
        With the fields ``folder``, ``rows`` (stored activations), ``pictures`` (different
        ones among them), ``files`` (whose content is remembered), ``size`` and ``limit``
        (bytes on disk, and the most it may take: environment variable
        ``SKTRANSFER_CACHE_SIZE``). All 0 but the limit in a folder without a store.

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
    if own_files(home) or place.is_file():  # to open it elsewhere would begin a store
        with Cache(place) as cache:
            counts = cache.counts()
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in own_files(home))
    return CacheInfo(str(place), **counts, size=size, limit=cache_size())


def clear_cache(folder: str | os.PathLike[str]) -> None:
    """Remove everything stored in a folder given as ``cache=``, whatever state it is in.

    Only files that the store wrote are removed, and the folder ``activations`` if nothing
    else is in it. Estimators that use the folder at the moment finish without it.

    Parameters
    ----------
    folder : str or path-like
        One that is missing or empty holds nothing to remove.

    Raises
    ------
    ParameterError
        If other files are in the folder, and no store.
    OSError
        If it can't be removed.

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
            "Give the folder that estimators were given as cache=."
        )
    discard(place)


class Cache:
    """A store that may be missing or break at any moment; a context manager.

    Every method answers as an empty store would where the real one can't. A damaged
    store is thrown away, once; after any other fault, or a second one, it is left alone
    until the next pass. The user is warned once.

    Parameters
    ----------
    folder : str, path-like or None
        None for no store at all.

    Raises
    ------
    ParameterError
        If it names no folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else cache_folder(folder)
        self._store: Store | None = None
        self._home: int | None = None
        self._was_renewed = False
        self._was_told = False

    @property
    def is_open(self) -> bool:
        """Whether there is a store to read from and write to."""
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
        """Rows of a space, by picture, as far as they are there."""
        return self._ask(lambda store: store.read(space, pictures), {})

    def holds(self, space: bytes, pictures: Sequence[bytes]) -> set[bytes]:
        """Those pictures that seem to have a row in a space; it is kept rather than others."""
        return self._ask(lambda store: store.holds(space, pictures, spare=True), set())

    def write(self, space: bytes, rows: Mapping[bytes, np.ndarray]) -> None:
        """Keep rows."""
        self._ask(lambda store: store.write(space, rows), None)

    def files(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """What is remembered of files, by path."""
        return self._ask(lambda store: store.files(paths), {})

    def remember_files(self, files: Mapping[str, StoredFile]) -> None:
        """Keep what was found out about files."""
        if files:
            self._ask(lambda store: store.remember_files(files), None)

    def get_model(self, key: bytes) -> bytes | None:
        """A converted network."""
        return self._ask(lambda store: models.get_model(store, key), None)

    def put_model(self, key: bytes, model: bytes) -> None:
        """Keep a converted network."""
        self._ask(lambda store: models.put_model(store, key, model), None)

    def counts(self) -> dict[str, int]:
        """Numbers of rows, pictures and files."""
        return self._ask(Store.counts, _NOTHING)

    def _ask(self, question: Callable[[Store], T], otherwise: T) -> T:
        if self._store is None:
            return otherwise
        store = self._store
        return self._attempt(lambda: question(store), otherwise)

    def _attempt(self, action: Callable[[], T], otherwise: T) -> T:
        """Do something with the open store, opening it first if need be."""
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
        limit = cache_size()  # a setting that means nothing is told before anything is opened
        self._folder = self._folder.absolute()  # stays the same if the process goes elsewhere
        home = make_home(self._folder)
        if hasattr(os, "O_DIRECTORY"):
            # Held open, so that no other folder gets its inode number.
            self._home = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        self._store = Store(self._folder, limit)

    def _renew(self) -> None:
        """Begin a new store in place of a damaged one."""
        assert self._folder is not None
        self._was_renewed = True
        somebody_did = self._home is not None and not _is_at(self._home, self._folder / FOLDER)
        self._close()
        try:
            if not somebody_did:
                discard(self._folder)
            self._open()
        except _FAULTS as error:
            self._close()
            logger.warning("cache=%r can't be renewed: %s", str(self._folder), error)

    def _close(self) -> None:
        if self._store is not None:
            with contextlib.suppress(sqlite3.Error):
                self._store.__exit__(None, None, None)
            self._store = None
        if self._home is not None:
            os.close(self._home)
            self._home = None

    def _warn(self, error: BaseException, damaged: bool) -> None:
        if self._was_told:
            return
        self._was_told = True
        consequence = (
            f"the damaged {FILE} in it is replaced by a new one"
            if damaged
            else "activations are computed without it"
        )
        reason = str(error)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            reason = f"the disk, or the SKTRANSFER_CACHE_SIZE of {cache_size():,} bytes, is full"
        warn(
            f"cache={str(self._folder)!r} can't be used: {reason}. So {consequence}; results stay "
            "the same. Give another folder, or cache=None.",
            CacheWarning,
        )


# UnicodeDecodeError: Python can't decode what SQLite says about a damaged name.
_FAULTS = (
    *(sqlite3.Error, OSError, UnicodeDecodeError),
    *(NewerFormatError, ForeignFileError, DamagedError),
)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open folder is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False

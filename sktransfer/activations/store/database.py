"""Activations on disk, one row a picture, in SQLite.

A row is found by the digest of its feature space (all that decides what the numbers mean)
and by the digest of its picture. Every row carries a checksum of its own: SQLite notices a
damaged structure, not a flipped bit. Nothing here is pickled.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer.activations.store.connection import (
    PAGE,
    DamagedError,
    connect,
    limit_pages,
    pragma,
    transaction,
)
from sktransfer.activations.store.folder import FILE, make_home

# The space of converted networks, which live in the same tables.
MODELS = b"models"

_AT_ONCE = 500  # values in one IN (...); SQLite allows 32,766, and long before that gains nothing
_EVICTED = 0.1  # share of the limit that is freed when it is reached
_RECENT = 60.0  # seconds in which a row that was used need not be marked as used again


@dataclass(frozen=True)
class StoredFile:
    """What is remembered of a file: how it looked, and its picture's digest."""

    identity: str
    picture: bytes


class Store:
    """One connection to the store in a folder, for one thread; a context manager.

    Parameters
    ----------
    folder : Path
        Made if it is missing, readable by its owner alone.
    limit : int
        Bytes that the store may take on disk.

    Raises
    ------
    OSError, sqlite3.Error
        As every method, when the disk or the file is not what it should be.
    NewerFormatError, ForeignFileError, DamagedError
        As `connect`.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
        self._connection = connect(make_home(folder) / FILE, limit)
        self._used: list[int] = []
        self._spared: set[int] = set()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def read(self, space: bytes, pictures: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The rows of a space that are there and undamaged, by picture."""
        found = {}
        now = time.time()
        for some in _portions(pictures):
            rows = self._connection.execute(
                "SELECT picture, id, used, dtype, shape, checksum, bytes FROM contents "
                "JOIN entries USING (id) WHERE space = (SELECT id FROM spaces WHERE digest = ?) "
                f"AND picture IN ({_marks(some)})",
                (space, *some),
            )
            for row in _of_types(rows, (bytes, int, float, str, str, bytes, bytes)):
                picture, key, used, dtype, shape, checksum, content = row
                if checksum != _checksum(space, picture, dtype, shape, content):
                    continue
                sides = [int(side) for side in shape.split()]
                found[picture] = np.frombuffer(content, dtype=dtype).reshape(sides)
                if used < now - _RECENT:
                    self._used.append(key)
        return found

    def holds(self, space: bytes, pictures: Sequence[bytes], *, spare: bool = False) -> set[bytes]:
        """Those of `pictures` that have a row in a space, damaged or not.

        To `spare` them is to drop others before them, as long as this store is open. A pass
        writes as it reads: without it, where not all rows have room, each new one would push
        out one that is about to be read, and no pass would find anything.
        """
        found: set[bytes] = set()
        for some in _portions(pictures):
            rows = self._connection.execute(
                "SELECT picture, id FROM entries "
                "WHERE space = (SELECT id FROM spaces WHERE digest = ?) "
                f"AND picture IN ({_marks(some)})",
                (space, *some),
            )
            numbers = dict(rows)
            found.update(numbers)
            if spare:
                self._spared.update(numbers.values())
        return found

    def write(self, space: bytes, rows: Mapping[bytes, np.ndarray]) -> None:
        """Keep rows, in one transaction; those of the same key are replaced.

        Raises
        ------
        sqlite3.Error
            Of code ``SQLITE_FULL`` if the disk is full or the limit is less than the rows.
        """
        packed = [
            (picture, row.dtype.str, " ".join(map(str, row.shape)), row.tobytes())
            for picture, row in rows.items()
        ]
        needed = sum(len(content) for *_, content in packed)
        self._make_room_for(lambda: self._insert(space, packed), needed)

    def _make_room_for(self, action: Callable[[], None], needed: int = 0) -> None:
        """Do something that writes; where the store is full, without its oldest rows.

        Rows that go may leave half-filled pages and no whole one, so more go each time.
        """
        freed = max(2 * needed, int(_EVICTED * self.limit))
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
                if not full or not self._has_rows():  # or the disk is full by others' files
                    raise
            self._evict(freed)
            freed *= 2

    def _has_rows(self) -> bool:
        return self._connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone() is not None

    def _just_written(self, query: str, *values: bytes | int) -> int:
        row = self._connection.execute(query, values).fetchone()
        if row is None:
            raise DamagedError("a row that was just written is not found")
        return int(row[0])

    def _insert(self, space: bytes, packed: Iterable[tuple[bytes, str, str, bytes]]) -> None:
        run = self._connection.execute
        with transaction(self._connection):
            run("INSERT OR IGNORE INTO spaces (digest) VALUES (?)", (space,))
            number = self._just_written("SELECT id FROM spaces WHERE digest = ?", space)
            for picture, dtype, shape, content in packed:
                run(
                    "INSERT INTO entries (space, picture, used, size) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET used = excluded.used, size = excluded.size",
                    (number, picture, time.time(), len(content)),
                )
                key = self._just_written(
                    "SELECT id FROM entries WHERE space = ? AND picture = ?", number, picture
                )
                checksum = _checksum(space, picture, dtype, shape, content)
                run(
                    "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)",
                    (key, dtype, shape, checksum, content),
                )

    def _evict(self, freed: int) -> None:
        """Drop the rows that were not used for longest, about `freed` bytes of them."""
        run = self._connection.execute
        excess = (
            pragma(self._connection, "page_count")
            - pragma(self._connection, "freelist_count")
            - self.limit // PAGE
        )
        freed += max(0, excess * PAGE)  # the limit was lowered since
        with transaction(self._connection):
            run("CREATE TEMP TABLE IF NOT EXISTS spared (id INTEGER PRIMARY KEY)")
            self._connection.executemany(
                "INSERT OR IGNORE INTO spared VALUES (?)", [(number,) for number in self._spared]
            )
            oldest = (
                "SELECT id FROM (SELECT id, "
                "SUM(size) OVER (ORDER BY id IN temp.spared, used, id) - size AS before "
                "FROM entries) WHERE before < ?"
            )
            run(f"DELETE FROM contents WHERE id IN ({oldest})", (freed,))
            run(f"DELETE FROM entries WHERE id IN ({oldest})", (freed,))
            run("DELETE FROM files WHERE picture NOT IN (SELECT picture FROM entries)")
        if excess > 0:
            # As a script: Python steps a single statement once, which frees one page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({excess})")
            limit_pages(self._connection, self.limit)

    def mark_used(self) -> None:
        """Write down which rows were read, for the eviction of others."""
        if self._used:
            now = time.time()
            with transaction(self._connection):
                self._connection.executemany(
                    "UPDATE entries SET used = ? WHERE id = ?", [(now, key) for key in self._used]
                )
            self._used = []

    def files(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """What is remembered of files, by path."""
        known = {}
        for some in _portions([os.fsencode(path) for path in paths]):  # not all paths are text
            rows = self._connection.execute(
                "SELECT path, identity, picture, checksum FROM files "
                f"WHERE path IN ({_marks(some)})",
                some,
            )
            for path, identity, picture, checksum in _of_types(rows, (bytes, str, bytes, bytes)):
                if checksum == _checksum(path, identity, picture):
                    known[os.fsdecode(path)] = StoredFile(identity, picture)
        return known

    def remember_files(self, files: Mapping[str, StoredFile]) -> None:
        """Keep what was found out about files."""
        rows = [
            (path, f.identity, f.picture, _checksum(path, f.identity, f.picture))
            for path, f in ((os.fsencode(name), f) for name, f in files.items())
        ]

        def insert() -> None:
            with transaction(self._connection):
                self._connection.executemany(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows
                )

        self._make_room_for(insert)

    def counts(self) -> dict[str, int]:
        """Numbers of rows, of pictures they belong to, and of files that are remembered."""
        rows, pictures = self._connection.execute(
            "SELECT COUNT(*), COUNT(DISTINCT picture) FROM entries "
            "JOIN spaces ON spaces.id = space WHERE digest != ?",
            (MODELS,),
        ).fetchone()
        (files,) = self._connection.execute("SELECT COUNT(*) FROM files").fetchone()
        return {"rows": rows, "pictures": pictures, "files": files}


def _checksum(*parts: bytes | str) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.digest()


def _of_types(rows: Iterable[tuple[Any, ...]], types: Sequence[type]) -> Iterator[tuple[Any, ...]]:
    """Rows whose values are of these types: damage can turn one into another."""
    return (row for row in rows if [type(value) for value in row] == list(types))


def _portions(values: Sequence[str] | Sequence[bytes]) -> Iterator[Sequence[str] | Sequence[bytes]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))

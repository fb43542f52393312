"""Activations on disk, in SQLite: one entry per picture and space.

A space is the digest of all that decides what activations mean: weights, stage,
preprocessing and arithmetic. An entry is found by its space and the digest of its picture, and
has a checksum of its own: SQLite notices a damaged structure, but not a flipped bit. Nothing
is pickled, so that reading a store never runs code.
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

# The space of converted networks, which are entries like others and are evicted like them.
MODELS = b"models"

_AT_ONCE = 500  # values in one IN (...); SQLite allows 32,766, but more than this gain nothing
_EVICTED = 0.1  # share of the limit that is freed at once when the limit is reached
_RECENT = 60.0  # seconds after a use in which an entry is not marked as used again


@dataclass(frozen=True)
class StoredFile:
    """The remembered identity (size, times, inode) and digest of a picture file."""

    identity: str
    picture: bytes


class Store:
    """One connection to the store in a folder, for one thread; a context manager.

    Parameters
    ----------
    folder : Path
        Created if it is missing, readable by its owner alone.
    limit : int
        Largest number of bytes that the store may take on disk.

    Raises
    ------
    OSError, sqlite3.Error
        By every method, if the disk fails or the file is damaged.
    NewerFormatError, ForeignFileError, DamagedError
        As `connect`.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
        self._connection = connect(make_home(folder) / FILE, limit)
        self._used: list[int] = []
        self._spared: set[int] = set()  # evicted after all others

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def read(self, space: bytes, pictures: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Stored arrays of a space, by picture; missing and damaged ones are left out."""
        found = {}
        now = time.time()
        for some in _portions(pictures):
            records = self._connection.execute(
                "SELECT picture, id, used, dtype, shape, checksum, bytes FROM contents "
                "JOIN entries USING (id) WHERE space = (SELECT id FROM spaces WHERE digest = ?) "
                f"AND picture IN ({_marks(some)})",
                (space, *some),
            )
            for record in _of_types(records, (bytes, int, float, str, str, bytes, bytes)):
                picture, key, used, dtype, shape, checksum, content = record
                if checksum != _checksum(space, picture, dtype, shape, content):
                    continue
                sides = [int(side) for side in shape.split()]
                found[picture] = np.frombuffer(content, dtype=dtype).reshape(sides)
                # Noted here, written once at the end: a read that writes would wait for others.
                if used < now - _RECENT:
                    self._used.append(key)
        return found

    def holds(self, space: bytes, pictures: Sequence[bytes], *, spare: bool = False) -> set[bytes]:
        """The pictures that have an entry in a space, damaged or not.

        With `spare`, other entries are evicted before these as long as this store is open. A
        pass writes while it reads. If not all entries have room, each new one would otherwise
        evict one that is about to be read, and no pass would find anything.
        """
        found: set[bytes] = set()
        for some in _portions(pictures):
            records = self._connection.execute(
                "SELECT picture, id FROM entries "
                "WHERE space = (SELECT id FROM spaces WHERE digest = ?) "
                f"AND picture IN ({_marks(some)})",
                (space, *some),
            )
            numbers = dict(records)
            found.update(numbers)
            if spare:
                self._spared.update(numbers.values())
        return found

    def write(self, space: bytes, arrays: Mapping[bytes, np.ndarray]) -> None:
        """Store an array for each picture, in one transaction; earlier ones are replaced.

        Raises
        ------
        sqlite3.Error
            With the code ``SQLITE_FULL`` if the disk is full, or the arrays are larger than
            the limit.
        """
        packed = [
            (picture, array.dtype.str, " ".join(map(str, array.shape)), array.tobytes())
            for picture, array in arrays.items()
        ]
        needed = sum(len(content) for *_, content in packed)
        self._make_room_for(lambda: self._insert(space, packed), needed)

    def _make_room_for(self, action: Callable[[], None], needed: int = 0) -> None:
        """Run an action that writes; while the store is full, evict entries and try again.

        Evicted entries may leave half-filled pages and no free one, so each attempt evicts
        twice as much as the last.
        """
        freed = max(2 * needed, int(_EVICTED * self.limit))
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
                # Without entries there is nothing to evict: other files fill the disk.
                if not full or not self._has_entries():
                    raise
            self._evict(freed)
            freed *= 2

    def _has_entries(self) -> bool:
        return self._connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone() is not None

    def _just_written(self, query: str, *values: bytes | int) -> int:
        record = self._connection.execute(query, values).fetchone()
        if record is None:  # an index is damaged
            raise DamagedError("an entry that was just written is not found")
        return int(record[0])

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
                # Read back: after an update, SQLite's last_insert_rowid is that of another entry.
                key = self._just_written(
                    "SELECT id FROM entries WHERE space = ? AND picture = ?", number, picture
                )
                checksum = _checksum(space, picture, dtype, shape, content)
                run(
                    "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)",
                    (key, dtype, shape, checksum, content),
                )

    def _evict(self, freed: int) -> None:
        """Remove the least recently used entries, about `freed` bytes of them."""
        run = self._connection.execute
        excess = (
            pragma(self._connection, "page_count")
            - pragma(self._connection, "freelist_count")
            - self.limit // PAGE
        )
        freed += max(0, excess * PAGE)  # the limit may be lower than at the last opening
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
            # A remembered digest saves time only where its picture has an entry.
            run("DELETE FROM files WHERE picture NOT IN (SELECT picture FROM entries)")
        if excess > 0:
            # As a script: Python runs one step of a single statement, and a step frees one page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({excess})")
            limit_pages(self._connection, self.limit)

    def mark_used(self) -> None:
        """Mark the entries that were read as used, so that others are evicted first."""
        if self._used:
            now = time.time()
            with transaction(self._connection):
                self._connection.executemany(
                    "UPDATE entries SET used = ? WHERE id = ?", [(now, key) for key in self._used]
                )
            self._used = []

    def files(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """Remembered digests of files, by path; damaged records are left out."""
        known = {}
        for some in _portions([os.fsencode(path) for path in paths]):  # not all paths are text
            records = self._connection.execute(
                "SELECT path, identity, picture, checksum FROM files "
                f"WHERE path IN ({_marks(some)})",
                some,
            )
            types = (bytes, str, bytes, bytes)
            for path, identity, picture, checksum in _of_types(records, types):
                if checksum == _checksum(path, identity, picture):
                    known[os.fsdecode(path)] = StoredFile(identity, picture)
        return known

    def remember_files(self, files: Mapping[str, StoredFile]) -> None:
        """Remember the digests of files."""
        records = [
            (path, f.identity, f.picture, _checksum(path, f.identity, f.picture))
            for path, f in ((os.fsencode(name), f) for name, f in files.items())
        ]

        def insert() -> None:
            with transaction(self._connection):
                self._connection.executemany(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", records
                )

        self._make_room_for(insert)

    def counts(self) -> dict[str, int]:
        """Numbers of stored activations (rows), of their pictures, and of remembered files."""
        entries, pictures = self._connection.execute(
            "SELECT COUNT(*), COUNT(DISTINCT picture) FROM entries "
            "JOIN spaces ON spaces.id = space WHERE digest != ?",
            (MODELS,),
        ).fetchone()
        (files,) = self._connection.execute("SELECT COUNT(*) FROM files").fetchone()
        return {"rows": entries, "pictures": pictures, "files": files}


def _checksum(*parts: bytes | str) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")  # so that "ab", "c" differs from "a", "bc"
    return digest.digest()


def _of_types(
    records: Iterable[tuple[Any, ...]], types: Sequence[type]
) -> Iterator[tuple[Any, ...]]:
    """The records whose values have these types: damage can change the type of a value."""
    return (record for record in records if [type(value) for value in record] == list(types))


def _portions(values: Sequence[str] | Sequence[bytes]) -> Iterator[Sequence[str] | Sequence[bytes]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))

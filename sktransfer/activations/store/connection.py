"""The SQLite file of a store: opened or made, and told from damage and from others' files."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sktransfer.activations.store.folder import FILE

# The tables' layout. A store with a higher number was written by a newer sktransfer.
FORMAT = 1
PAGE = 16384  # rows are kilobytes: fewer, larger pages

# SQLite's place for a number that says whose file it is: "skTr". Stores that were made
# before this number was written are known by their tables.
_APPLICATION = int.from_bytes(b"skTr", "big")
_WAIT = 60.0  # seconds for another process to finish writing
_ASK_AGAIN = 0.05  # seconds
_LOG_PAGES = 256  # of a write-ahead log, before it is put into the file

_TABLES = """\
CREATE TABLE spaces (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL, picture BLOB NOT NULL,
    used REAL NOT NULL, size INTEGER NOT NULL, UNIQUE (space, picture));
CREATE TABLE contents (
    id INTEGER PRIMARY KEY, dtype TEXT NOT NULL, shape TEXT NOT NULL,
    checksum BLOB NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE files (
    path BLOB PRIMARY KEY, identity TEXT NOT NULL, picture BLOB NOT NULL, checksum BLOB NOT NULL)
"""
_STATEMENTS = [statement.strip() for statement in _TABLES.split(";")]


class NewerFormatError(Exception):
    """The store was written by a newer sktransfer."""


class ForeignFileError(Exception):
    """The file is a sound database, and no store."""


class DamagedError(Exception):
    """The store's tables are not what they were made as."""


def connect(path: Path, limit: int) -> sqlite3.Connection:
    """A connection to the store in a file, for one thread.

    Parameters
    ----------
    path : Path
        Made if it is missing, as open to others as its folder is.
    limit : int
        Bytes that the file may take.

    Raises
    ------
    OSError, sqlite3.Error
        When the disk or the file is not what it should be.
    NewerFormatError
    ForeignFileError
    DamagedError
    """
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
    try:
        if path.stat().st_size == 0:
            with contextlib.suppress(OSError):  # of another user, where a folder is shared
                path.chmod(path.parent.stat().st_mode & 0o666)
        _set_up(connection, limit)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, limit: int) -> None:
    run = connection.execute
    # Damaged text must not raise where it is only looked at: the checksums judge it.
    connection.text_factory = lambda text: text.decode(errors="replace")
    run("PRAGMA mmap_size = 0")
    run("PRAGMA temp_store = MEMORY")
    is_new = _found_format(connection) == 0
    if is_new:
        run(f"PRAGMA page_size = {PAGE}")
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run(f"PRAGMA application_id = {_APPLICATION}")
    _choose_journal(connection, is_new)
    run("PRAGMA synchronous = NORMAL")
    run(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    limit_pages(connection, limit)
    if is_new:
        with transaction(connection):  # another process may be doing the same
            if _found_format(connection) == 0:
                for statement in _STATEMENTS:
                    run(statement)
                run(f"PRAGMA user_version = {FORMAT}")
    if _tables(connection) != _STATEMENTS:
        raise DamagedError("its tables are damaged")


def _found_format(connection: sqlite3.Connection) -> int:
    try:
        found = pragma(connection, "user_version")
        foreign = _is_foreign(connection)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # such as "unsupported file format"
            raise DamagedError(str(error)) from error
        raise
    if foreign:
        raise ForeignFileError(f"{FILE} in it is the database of another program, and stays as is")
    if found > FORMAT:
        raise NewerFormatError(f"its format is {found}, newer than {FORMAT}")
    return found


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")
    return [sql for (sql,) in rows]


def _is_foreign(connection: sqlite3.Connection) -> bool:
    if pragma(connection, "application_id") == _APPLICATION:
        return False
    return _tables(connection) not in ([], _STATEMENTS)


def is_foreign(path: Path) -> bool:
    """Whether a file is a sound database that no store made.

    Asked of SQLite: to open and close the file by other means would take away the locks
    that other threads hold on it.

    Raises
    ------
    OSError
        If it can't be found out, as somebody has locked it.
    """
    if not path.is_file():
        return False
    address = f"{path.absolute().as_uri()}?mode=rw"  # what must be rolled back is, to read it
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_WAIT)) as connection:
            return _is_foreign(connection)
    except sqlite3.Error as error:
        if _is_locked(error):
            raise OSError(f"{path} is in use: {error}") from error
        return False  # damaged, or gone by now: nothing tells that it is another's


def is_damage(error: BaseException) -> bool:
    """Whether an error tells that the file is damaged, rather than out of reach."""
    code = getattr(error, "sqlite_errorcode", 0)
    primary = code & 0xFF  # the higher bits say more precisely what was found
    return (
        isinstance(error, DamagedError | UnicodeDecodeError)
        or primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        # What is written satisfies all constraints, unless the index is wrong.
        or primary in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
    )


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _choose_journal(connection: sqlite3.Connection, is_new: bool) -> None:
    """Set the way in which transactions are kept whole, for this and later connections.

    A store that once has a rollback journal keeps it: an SQLite whose WAL loses data may
    have it open at this moment, and would follow into WAL.
    """
    run = connection.execute
    found = run("PRAGMA journal_mode").fetchone()[0].upper()
    mode = journal_mode(sqlite3.sqlite_version_info)
    if found != "WAL" and not is_new:
        mode = "TRUNCATE"
    if found == mode:
        return  # to set it anew would write to the file, and a store may be read-only
    end = None
    while True:
        try:
            run(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            # SQLite waits for no one here: it is refused as long as the store is open elsewhere.
            end = end or time.monotonic() + _WAIT
            if not _is_locked(error) or time.monotonic() > end:
                raise
        time.sleep(_ASK_AGAIN)


def journal_mode(version: tuple[int, ...]) -> str:
    """WAL, or TRUNCATE where SQLite's WAL can lose data.

    A reset of the log could corrupt the file in versions 3.7.0 to 3.51.2; the repair was
    also given to 3.50.7 and 3.44.6.
    """
    mended = (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51, 0)
        or (3, 44, 6) <= version < (3, 45, 0)
    )
    return "WAL" if mended else "TRUNCATE"


def limit_pages(connection: sqlite3.Connection, limit: int) -> None:
    """Let the file grow to `limit` bytes; to its present size where it is above that."""
    connection.execute(f"PRAGMA max_page_count = {max(1, limit // PAGE)}")


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """What SQLite says about a number of its own."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is written in a block, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite itself ends some that fail
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

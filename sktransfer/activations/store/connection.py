"""The SQLite file of a store: open or create it, and recognise damaged and foreign files."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sktransfer.activations.store.folder import FILE

# Number of the tables' layout. A store with a higher one was written by a newer sktransfer.
FORMAT = 1
PAGE = 16384  # bytes; activations of a picture are kilobytes, so SQLite's default of 4096 is small

# SQLite keeps a number that says which program a file belongs to; ours reads "skTr". Stores
# from before this number was written are recognised by their tables.
_APPLICATION = int.from_bytes(b"skTr", "big")
_WAIT = 60.0  # seconds that another process may take to finish writing
_ASK_AGAIN = 0.05  # seconds between attempts
_LOG_PAGES = 256  # length of a write-ahead log before it is copied into the file

# Contents have a table of their own: to look up or evict entries, SQLite reads none of them.
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
    """The file is an undamaged database of another program."""


class DamagedError(Exception):
    """The store's tables are not as they were created."""


def connect(path: Path, limit: int) -> sqlite3.Connection:
    """Connect one thread to the store in a file.

    Parameters
    ----------
    path : Path
        Created if it is missing, with the permissions of its folder.
    limit : int
        Largest number of bytes that the file may take.

    Raises
    ------
    OSError, sqlite3.Error
        If the disk fails, or the file can't be read.
    NewerFormatError
    ForeignFileError
    DamagedError
    """
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
    try:
        if path.stat().st_size == 0:
            with contextlib.suppress(OSError):  # in a shared folder it may be another user's
                path.chmod(path.parent.stat().st_mode & 0o666)
        _set_up(connection, limit)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, limit: int) -> None:
    run = connection.execute
    # Damaged text must not raise where it is read: checksums find it, entry by entry.
    connection.text_factory = lambda text: text.decode(errors="replace")
    # A mapped file that shrinks ends the process by a signal; a read that fails raises.
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
        with transaction(connection):  # another process may do the same, so look again
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
    """Return whether a file is an undamaged database of another program.

    SQLite reads the file: to open and close it by other means would release the locks that
    other threads of this process hold on it.

    Raises
    ------
    OSError
        If this can't be found out, because the file is locked.
    """
    if not path.is_file():
        return False
    # Writable, as an interrupted transaction must be rolled back before the file can be read.
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_WAIT)) as connection:
            return _is_foreign(connection)
    except sqlite3.Error as error:
        if _is_locked(error):
            raise OSError(f"{path} is in use: {error}") from error
        return False  # damaged or gone: nothing shows that it belongs to another program


def is_damage(error: BaseException) -> bool:
    """Return whether an error means that the file is damaged, rather than out of reach."""
    code = getattr(error, "sqlite_errorcode", 0)
    primary = code & 0xFF  # the higher bits only add detail
    return (
        isinstance(error, DamagedError | UnicodeDecodeError)
        or primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        # Everything that is written satisfies the constraints, unless an index is damaged.
        or primary in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
    )


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _choose_journal(connection: sqlite3.Connection, is_new: bool) -> None:
    """Choose how SQLite protects transactions, for this and later connections.

    A store that has a rollback journal keeps it: a process whose SQLite loses data in WAL may
    have the store open at this moment, and would be switched to WAL too.
    """
    run = connection.execute
    found = run("PRAGMA journal_mode").fetchone()[0].upper()
    mode = journal_mode(sqlite3.sqlite_version_info)
    if found != "WAL" and not is_new:
        mode = "TRUNCATE"
    if found == mode:
        return  # setting it again would write to the file, and a store may be read-only
    end = None
    while True:
        try:
            run(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            # SQLite's own timeout does not hold for this statement, which fails at once while
            # the store is open elsewhere.
            end = end or time.monotonic() + _WAIT
            if not _is_locked(error) or time.monotonic() > end:
                raise
        time.sleep(_ASK_AGAIN)


def journal_mode(version: tuple[int, ...]) -> str:
    """WAL, or TRUNCATE for versions of SQLite whose WAL can lose data.

    In versions 3.7.0 to 3.51.2, a reset of the log could corrupt the file. The fix was also
    released as 3.50.7 and 3.44.6.
    """
    fixed = (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51, 0)
        or (3, 44, 6) <= version < (3, 45, 0)
    )
    return "WAL" if fixed else "TRUNCATE"


def limit_pages(connection: sqlite3.Connection, limit: int) -> None:
    """Let the file grow to `limit` bytes, or to its present size if that is larger."""
    connection.execute(f"PRAGMA max_page_count = {max(1, limit // PAGE)}")


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """The value of one of SQLite's settings or counters."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all statements of a block, or none of them if one fails."""
    # Locked for writing at once: a lock that is only asked for at the first write fails where
    # another process wrote since the first read.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # after some errors SQLite has rolled back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

"""Opening the SQLite file, by itself; tests of the store damage it in every way."""

import sqlite3
from contextlib import closing

import pytest

from sktransfer.activations.store.connection import (
    FORMAT,
    PAGE,
    DamagedError,
    ForeignFileError,
    NewerFormatError,
    connect,
    is_damage,
    is_foreign,
    limit_pages,
    pragma,
    transaction,
)

LIMIT = 100 * PAGE


@pytest.fixture
def path(tmp_path):
    """A store without entries."""
    path = tmp_path / "store.sqlite"
    connect(path, LIMIT).close()
    return path


def changed(path, statement):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_a_new_file_is_a_store_with_its_tables(path):
    assert not is_foreign(path)
    with closing(connect(path, LIMIT)) as connection:
        assert pragma(connection, "user_version") == FORMAT
        assert pragma(connection, "max_page_count") == 100
        for table in ("spaces", "entries", "contents", "files"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_the_limit_can_be_changed(path):
    with closing(connect(path, LIMIT)) as connection:
        limit_pages(connection, 2 * LIMIT)
        assert pragma(connection, "max_page_count") == 200


def test_a_newer_format_is_refused(path):
    changed(path, f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(NewerFormatError, match=f"{FORMAT + 1}, newer than {FORMAT}"):
        connect(path, LIMIT)


def test_a_store_that_lacks_a_table_is_damaged(path):
    changed(path, "DROP TABLE files")
    with pytest.raises(DamagedError) as raised:
        connect(path, LIMIT)
    assert is_damage(raised.value)


def test_the_database_of_another_program_is_foreign_and_stays(tmp_path):
    path = tmp_path / "theirs.sqlite"
    changed(path, "CREATE TABLE mine (id INTEGER)")
    before = path.read_bytes()
    assert is_foreign(path)
    with pytest.raises(ForeignFileError):
        connect(path, LIMIT)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_damaged_and_not_foreign(tmp_path):
    path = tmp_path / "text.sqlite"
    path.write_text("no database " * 1000)
    assert not is_foreign(path)
    assert not is_foreign(tmp_path / "missing.sqlite")
    with pytest.raises(sqlite3.DatabaseError) as raised:
        connect(path, LIMIT)
    assert is_damage(raised.value)


def test_a_full_disk_is_no_damage():
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert not is_damage(full)
    assert not is_damage(OSError("a disk that is gone"))


def test_a_transaction_that_fails_writes_nothing(path):
    insert = "INSERT INTO spaces (digest) VALUES (?)"
    with closing(connect(path, LIMIT)) as connection:
        with pytest.raises(sqlite3.IntegrityError), transaction(connection):
            connection.executemany(insert, [(b"one",), (b"one",)])  # the first is fine by itself
        assert connection.execute("SELECT count(*) FROM spaces").fetchone() == (0,)
        with transaction(connection):
            connection.execute(insert, [b"one"])
    with closing(connect(path, LIMIT)) as connection:
        assert connection.execute("SELECT count(*) FROM spaces").fetchone() == (1,)

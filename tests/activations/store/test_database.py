import os
import random
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktransfer.activations.store import connection as connection_module
from sktransfer.activations.store import database as store_module
from sktransfer.activations.store.connection import (
    FORMAT,
    PAGE,
    NewerFormatError,
    journal_mode,
    pragma,
)
from sktransfer.activations.store.database import Store, StoredFile
from sktransfer.activations.store.folder import FILE, FOLDER, discard
from sktransfer.activations.store.models import get_model, put_model

PLENTY = 10**8


def key(number):
    return number.to_bytes(32, "big")


def row(number, size=3):
    return np.full(size, number, dtype=np.float32)


def changes(store):
    """A number that changes when another connection writes."""
    return pragma(store._connection, "data_version")


def file_of(folder):
    return folder / FOLDER / FILE


def size_of(folder):
    return file_of(folder).stat().st_size


def change(folder, statement, *values):
    """Change the file as a fault of the disk might."""
    with closing(sqlite3.connect(file_of(folder))) as connection, connection:
        return connection.execute(statement, values).fetchall()


def read_or_nothing(store, space, pictures):
    """The arrays that can be read; none if SQLite reports that the file is damaged."""
    try:
        return store.read(space, pictures)
    except sqlite3.Error:
        return {}


@pytest.fixture
def clock(monkeypatch):
    """The store's clock, moved by hand."""
    clock = SimpleNamespace(now=1e9)
    monkeypatch.setattr(store_module, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.fixture(params=["TRUNCATE", "WAL"])
def either_journal(request, monkeypatch):
    monkeypatch.setattr(connection_module, "journal_mode", lambda _version: request.param)
    return request.param


# Reading and writing.


class Model:
    """What a store should do: a dict in the order of last use."""

    def __init__(self):
        self.rows = {}

    def write(self, space, rows):
        for picture, value in rows.items():
            self.rows.pop((space, picture), None)
            self.rows[space, picture] = value

    def read(self, space, picture):
        found = self.rows.pop((space, picture), None)
        if found is not None:
            self.rows[space, picture] = found
        return found

    def holds(self, space, pictures):
        return {picture for picture in pictures if (space, picture) in self.rows}

    def evict(self, freed):
        for place, value in list(self.rows.items()):
            if freed <= 0:
                break
            freed -= value.nbytes
            del self.rows[place]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("either_journal")
def test_a_store_is_a_dict(tmp_path, clock, monkeypatch, seed):
    monkeypatch.setattr(store_module, "_RECENT", 0)  # every reading is marked
    rng = np.random.default_rng(seed)
    model, spaces, pictures = Model(), [b"space a", b"space b"], [key(i) for i in range(30)]
    dtypes = [np.float32, np.uint8, np.float64, np.int64]
    kinds = [(rng.integers(1, 9, rng.integers(0, 4)), rng.choice(dtypes)) for _ in pictures]
    store = Store(tmp_path, PLENTY)
    for _ in range(200):
        space = spaces[rng.integers(2)]
        some = [pictures[i] for i in rng.choice(30, rng.integers(1, 8), replace=False)]
        action = rng.choice(
            ["write", "read", "holds", "evict", "reopen"], p=[0.35, 0.35, 0.2, 0.05, 0.05]
        )
        clock.now += 1
        if action == "write":
            for picture in some:
                shape, dtype = kinds[pictures.index(picture)]
                value = np.asarray(100 * rng.random(shape)).astype(dtype)
                clock.now += 1
                store.write(space, {picture: value})
                model.write(space, {picture: value})
        elif action == "read":
            together = store.read(space, some)
            assert set(together) == model.holds(space, some)
            store.mark_used()
            for picture in some:
                clock.now += 1
                found = store.read(space, [picture]).get(picture)
                store.mark_used()
                expected = model.read(space, picture)
                assert (found is None) == (expected is None)
                if found is not None:
                    assert found.dtype == expected.dtype
                    assert_array_equal(found, expected, strict=True)
                    assert_array_equal(together[picture], expected, strict=True)
        elif action == "holds":
            assert store.holds(space, some) == model.holds(space, some)
        elif action == "evict":
            freed = int(rng.integers(1, 5000))
            store._evict(freed)
            model.evict(freed)
        else:
            store.__exit__(None, None, None)
            store = Store(tmp_path, PLENTY)
        assert store.counts()["rows"] == len(model.rows)
        assert store.counts()["pictures"] == len({picture for _, picture in model.rows})
    store.__exit__(None, None, None)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7,
        np.arange(48, dtype=np.uint8).reshape(3, 4, 4),
        np.float32(2.5).reshape(()),
        np.zeros((0, 3), dtype=np.float32),
        np.zeros((2, 0), dtype=np.uint8),
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(12, dtype=np.float32)[::-2],
        np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], dtype=np.float32),
        np.array([1.5, -2], dtype=">f4"),
        np.array([True, False]),
    ],
    ids=[
        "map",
        "pixels",
        "0-d",
        "0x3",
        "2x0",
        "fortran",
        "strides",
        "specials",
        "big-endian",
        "bools",
    ],
)
def test_dtypes_and_shapes_are_read_back(tmp_path, value):
    with Store(tmp_path, PLENTY) as store:
        store.write(b"space", {key(0): value})
    with Store(tmp_path, PLENTY) as store:
        found = store.read(b"space", [key(0)])[key(0)]
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert found.tobytes() == value.tobytes()


def test_a_key_written_twice_is_one_entry(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        store.write(b"space", {key(0): row(1)})
        store.write(b"space", {key(0): row(2, size=5)})
        assert store.counts()["rows"] == 1
        assert_array_equal(store.read(b"space", [key(0)])[key(0)], row(2, size=5))
    for table in ("entries", "contents"):
        assert change(tmp_path, f"SELECT COUNT(*) FROM {table}") == [(1,)]


def test_an_entry_written_again_counts_by_its_new_size(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        store.write(b"space", {key(0): row(0, size=1000)})
        store.write(b"space", {key(0): row(0, size=1)})
        store.write(b"space", {key(1): row(1, size=1)})
        store._evict(8)
        assert store.counts()["rows"] == 0


def test_spaces_are_apart(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        store.write(b"a", {key(0): row(1), key(1): row(2)})
        store.write(b"b", {key(0): row(3)})
        assert store.counts() == {"rows": 3, "pictures": 2, "files": 0}
        assert store.holds(b"b", [key(0), key(1)]) == {key(0)}
        assert_array_equal(store.read(b"a", [key(0)])[key(0)], row(1))
        assert_array_equal(store.read(b"b", [key(0)])[key(0)], row(3))
        assert store.read(b"c", [key(0)]) == {}


def test_many_keys_are_read_at_once(tmp_path):
    keys = [key(i) for i in range(1234)]  # more than one statement holds
    with Store(tmp_path, PLENTY) as store:
        store.write(b"space", {k: row(i) for i, k in enumerate(keys[::2])})
        assert store.holds(b"space", keys) == set(keys[::2])
        found = store.read(b"space", keys)
        assert len(found) == 617
        assert_array_equal(found[keys[1000]], row(500))
        store.remember_files({f"/{i}": StoredFile("old", key(i)) for i in range(1234)})
        assert len(store.files([f"/{i}" for i in range(2000)])) == 1234


def test_reading_no_keys_finds_nothing(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        assert store.read(b"space", []) == {}
        assert store.holds(b"space", []) == set()
        assert store.files([]) == {}
        store.write(b"space", {})
        store.mark_used()
        assert store.counts() == {"rows": 0, "pictures": 0, "files": 0}


def test_arrays_that_were_read_stay_valid(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        store.write(b"space", {key(0): row(1)})
        found = store.read(b"space", [key(0)])[key(0)]
        store.write(b"space", {key(0): row(2)})
    assert_array_equal(found, row(1))


def test_models_are_read_back(tmp_path):
    model = bytes(range(256)) * 100
    with Store(tmp_path, PLENTY) as store:
        assert get_model(store, key(0)) is None
        put_model(store, key(0), model)
        assert get_model(store, key(0)) == model
        assert store.counts()["rows"] == 0  # no activations
    change(tmp_path, "UPDATE contents SET bytes = x'00'")
    with Store(tmp_path, PLENTY) as store:
        assert get_model(store, key(0)) is None


def test_files_are_remembered(tmp_path):
    a, b = StoredFile("looks so", key(1)), StoredFile("looks otherwise", key(2))
    with Store(tmp_path, PLENTY) as store:
        store.remember_files({"/a.png": a, "/ä'\".png": b})
        assert store.files(["/a.png", "/ä'\".png", "/c.png"]) == {"/a.png": a, "/ä'\".png": b}
        store.remember_files({"/a.png": b})
        assert store.files(["/a.png"]) == {"/a.png": b}
        assert store.counts()["files"] == 2


# The file.


def test_the_folder_is_its_owners_alone(tmp_path):
    with Store(tmp_path / "new" / "folder", PLENTY):
        home = tmp_path / "new" / "folder" / FOLDER
        assert home.stat().st_mode & 0o777 == 0o700
        assert {file.name for file in home.iterdir()} <= {
            FILE,
            f"{FILE}-journal",
            f"{FILE}-wal",
            f"{FILE}-shm",
        }


def test_nothing_is_pickled(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        store.write(b"space", {key(i): row(i) for i in range(5)})
        store.remember_files({"/a.png": StoredFile("looks so", key(1))})
        put_model(store, key(9), b"a model")
    for table in ("spaces", "entries", "contents", "files"):
        columns = [name for _, name, *_ in change(tmp_path, f"PRAGMA table_info({table})")]
        for column in columns:
            kinds = {kind for (kind,) in change(tmp_path, f"SELECT typeof({column}) FROM {table}")}
            assert kinds <= {"blob", "text", "integer", "real"}
    assert {
        tables
        for (tables,) in change(tmp_path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    } == {
        "spaces",
        "entries",
        "contents",
        "files",
    }
    ((content,),) = change(tmp_path, "SELECT bytes FROM contents WHERE id = 3")
    assert content == row(2).tobytes()
    assert b"numpy" not in file_of(tmp_path).read_bytes()


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 37, 2), "TRUNCATE"),
        ((3, 40, 1), "TRUNCATE"),
        ((3, 44, 5), "TRUNCATE"),
        ((3, 44, 6), "WAL"),
        ((3, 44, 9), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((3, 50, 6), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 0), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 52, 0), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_journal_mode_by_version(version, mode):
    assert journal_mode(version) == mode


def test_settings_are_in_effect(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        mode = journal_mode(sqlite3.sqlite_version_info).lower()
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
        for name, value in {
            "mmap_size": 0,
            "page_size": PAGE,
            "synchronous": 1,
            "busy_timeout": 60_000,
            "max_page_count": PLENTY // PAGE,
            "user_version": FORMAT,
        }.items():
            assert pragma(store._connection, name) == value


# The limit.


def fill(store, n, size, first=0):
    for number in range(first, first + n):
        store.write(b"space", {key(number): row(number, size)})


def fill_at_once(store, n, size, first=0):
    store.write(b"space", {key(number): row(number, size) for number in range(first, first + n)})


@pytest.mark.parametrize("size", [500, 5_000, 20_000])
@pytest.mark.usefixtures("either_journal")
def test_the_file_stays_within_its_limit(tmp_path, size):
    limit = 2_000_000
    with Store(tmp_path, limit) as store:
        n = 100_000 // (4 * size)
        for start in range(0, 4 * limit // (4 * size), n):
            fill_at_once(store, n, size, start)
            assert size_of(tmp_path) <= 1.1 * limit
        last = [key(number) for number in range(start, start + n)]
        assert store.holds(b"space", last) == set(last)
        assert store.counts()["rows"] * 4 * size > 0.5 * limit
    assert sum(file.stat().st_size for file in (tmp_path / FOLDER).iterdir()) <= 1.1 * limit


def test_the_least_recently_used_entries_are_evicted_first(tmp_path, clock):
    with Store(tmp_path, 2_000_000) as store:
        for number in range(80):
            clock.now += 1
            fill(store, 1, 5_000, number)
        clock.now += 100
        read = [key(number) for number in range(0, 80, 2)]
        assert len(store.read(b"space", read)) == 40
        store.mark_used()
        number = 80
        while len(store.holds(b"space", [key(n) for n in range(1, 80, 2)])) > 20:
            clock.now += 1
            fill(store, 1, 5_000, number)
            number += 1
            left = [n for n in range(1, 80, 2) if store.holds(b"space", [key(n)])]
            assert left == list(range(1, 80, 2))[40 - len(left) :]  # the newest
            assert store.holds(b"space", read) == set(read)


def test_spared_entries_are_evicted_last(tmp_path, clock):
    with Store(tmp_path, 2_000_000) as store:
        fill_at_once(store, 60, 5_000, 0)
        old = [key(number) for number in range(60)]
        assert store.holds(b"space", old, spare=True) == set(old)
        for number in range(60, 300, 8):
            clock.now += 1
            fill_at_once(store, 8, 5_000, number)
            assert store.holds(b"space", old) == set(old)
    with Store(tmp_path, 2_000_000) as store:
        fill_at_once(store, 60, 5_000, 300)
        assert len(store.holds(b"space", old)) < 60


def test_an_entry_read_just_after_it_was_written_is_not_marked(tmp_path, clock):
    with Store(tmp_path, PLENTY) as store, Store(tmp_path, PLENTY) as other:
        store.write(b"space", {key(0): row(0)})
        before = changes(other)
        clock.now += 10
        store.read(b"space", [key(0)])
        store.mark_used()
        assert changes(other) == before
        clock.now += 100
        store.read(b"space", [key(0)])
        store.mark_used()
        assert changes(other) != before


@pytest.mark.parametrize("size", [500, 1_280])
@pytest.mark.parametrize("seed", range(2))
def test_room_is_found_where_old_and_new_entries_are_mixed(tmp_path, clock, size, seed):
    # Entries are evicted here and there, so few whole pages become free.
    chance, limit = random.Random(seed), 2_000_000
    with Store(tmp_path, limit) as store:
        for start in range(0, 2000, 8):
            clock.now += 100
            store.write(b"space", {key(n): row(n, size) for n in range(start, start + 8)})
            held = sorted(store.holds(b"space", [key(n) for n in range(start + 8)]))
            clock.now += 100
            store.read(b"space", chance.sample(held, len(held) // 2))
            store.mark_used()
    assert size_of(tmp_path) <= 1.1 * limit


@pytest.mark.parametrize("size", [500, 5_000])
def test_a_limit_lowered_later_shrinks_the_store(tmp_path, size):
    n = 4_000_000 // (4 * size)
    with Store(tmp_path, 4_000_000) as store:
        for start in range(0, n, 10):
            fill_at_once(store, 10, size, start)
    assert size_of(tmp_path) > 3_000_000
    with Store(tmp_path, 1_000_000) as store:
        number = n
        while store.holds(b"space", [key(n - 1)]):  # until no old entry is left
            fill_at_once(store, 10, size, number)
            number += 10
        assert store.holds(b"space", [key(number - 1)])
    assert size_of(tmp_path) <= 1.1 * 1_000_000


def test_a_limit_may_be_raised(tmp_path):
    with Store(tmp_path, 1_000_000) as store:
        fill(store, 40, 5_000)
        kept = store.counts()["rows"]
    with Store(tmp_path, PLENTY) as store:
        fill(store, 100, 5_000, 1000)
        assert store.counts()["rows"] == kept + 100


def test_an_entry_larger_than_the_limit_is_an_error(tmp_path):
    with Store(tmp_path, 1_000_000) as store:
        fill(store, 5, 1_000)
        with pytest.raises(sqlite3.OperationalError) as caught:
            store.write(b"space", {key(9): row(9, 500_000)})
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
        assert store.holds(b"space", [key(9)]) == set()
        fill(store, 5, 1_000)
        assert store.counts()["rows"] == 5
    assert size_of(tmp_path) <= 1.1 * 1_000_000


def test_a_limit_without_room_for_the_tables_is_an_error(tmp_path):
    with pytest.raises(sqlite3.OperationalError) as caught:
        Store(tmp_path, 1)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    with Store(tmp_path, PLENTY) as store:  # a write that was interrupted does no harm
        fill(store, 3, 3)
        assert store.counts()["rows"] == 3


def test_files_without_entries_are_forgotten_when_room_is_needed(tmp_path):
    with Store(tmp_path, 2_000_000) as store:
        for number in range(100):
            fill(store, 1, 10_000, number)
            store.remember_files({f"/{number}.png": StoredFile("looks so", key(number))})
        held = store.holds(b"space", [key(n) for n in range(100)])
        assert 0 < len(held) < 100
        remembered = store.files([f"/{n}.png" for n in range(100)])
        assert {file.picture for file in remembered.values()} >= held
        assert len(remembered) < 100


def test_files_are_remembered_when_the_store_is_full(tmp_path):
    with Store(tmp_path, 2_000_000) as store:
        fill_at_once(store, 60, 5_000, 1000)
        for number in range(60):
            fill(store, 1, 3_000 + 37 * number, number)
            files = {f"/{number}/{i}.png": StoredFile("so" * 20, key(number)) for i in range(100)}
            store.remember_files(files)
            assert store.files(list(files)) == files
            assert size_of(tmp_path) <= 1.1 * 2_000_000


# Damage.


@pytest.fixture
def filled(tmp_path):
    """A folder with ten entries in one space, and a file."""
    with Store(tmp_path, PLENTY) as store:
        fill(store, 10, 50)
        store.remember_files({"/a.png": StoredFile("looks so", key(3))})
    return tmp_path


ALL = [key(number) for number in range(10)]


def flipped(folder, table, column, where):
    """Change one bit of a value, which SQLite does not notice."""
    ((value,),) = change(folder, f"SELECT {column} FROM {table} WHERE {where}")
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[len(raw) // 2] ^= 1
    new = raw.decode() if isinstance(value, str) else bytes(raw)
    change(folder, f"UPDATE {table} SET {column} = ? WHERE {where}", new)


@pytest.mark.parametrize("column", ["bytes", "shape", "dtype", "checksum"])
def test_a_flipped_bit_is_a_miss(filled, column):
    flipped(filled, "contents", column, "id = 4")
    with Store(filled, PLENTY) as store:
        found = store.read(b"space", ALL)
        assert set(ALL) - set(found) == {key(3)}
        for number in set(range(10)) - {3}:
            assert_array_equal(found[key(number)], row(number, 50))
        fill(store, 1, 50, 3)
        assert_array_equal(store.read(b"space", [key(3)])[key(3)], row(3, 50))
        assert store.counts()["rows"] == 10


def test_every_bit_of_an_entry_counts(filled):
    ((content,),) = change(filled, "SELECT bytes FROM contents WHERE id = 4")
    with Store(filled, PLENTY) as store, closing(sqlite3.connect(file_of(filled))) as connection:
        for place in range(0, 8 * len(content), 7):
            raw = bytearray(content)
            raw[place // 8] ^= 1 << place % 8
            with connection:
                connection.execute("UPDATE contents SET bytes = ? WHERE id = 4", (bytes(raw),))
            assert store.read(b"space", [key(3)]) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET picture = x'00' || substr(picture, 1, 31) WHERE id = 4",
        "UPDATE entries SET id = id + 100 WHERE id = 4",
        "UPDATE contents SET id = id + 100 WHERE id = 4",
        "DELETE FROM contents WHERE id = 4",
        "DELETE FROM entries WHERE id = 4",
    ],
)
def test_an_entry_that_lost_a_part_is_a_miss(filled, statement):
    change(filled, statement)
    with Store(filled, PLENTY) as store:
        found = store.read(b"space", [*ALL, bytes(1) + key(3)[:31]])
        assert set(ALL) - set(found) == {key(3)}
        fill(store, 10, 50)
        assert set(store.read(b"space", ALL)) == set(ALL)


def test_entries_under_a_wrong_key_are_a_miss(filled):
    change(filled, "UPDATE entries SET picture = x'ff' WHERE id = 4")
    change(filled, "UPDATE entries SET picture = ? WHERE id = 5", key(3))
    with Store(filled, PLENTY) as store:
        assert set(ALL) - set(store.read(b"space", ALL)) == {key(3), key(4)}


def test_entries_in_a_wrong_space_are_a_miss(filled):
    change(filled, "UPDATE spaces SET digest = ?", b"other")
    with Store(filled, PLENTY) as store:
        assert store.read(b"other", ALL) == {}
        assert store.read(b"space", ALL) == {}


@pytest.mark.parametrize("column", ["identity", "picture", "checksum"])
def test_a_flipped_bit_forgets_a_file(filled, column):
    flipped(filled, "files", column, "path = CAST('/a.png' AS BLOB)")
    with Store(filled, PLENTY) as store:
        assert store.files(["/a.png"]) == {}
        store.remember_files({"/a.png": StoredFile("looks so", key(3))})
        assert store.files(["/a.png"]) == {"/a.png": StoredFile("looks so", key(3))}


# SQLite keeps the type of each value in its record's header, where a flipped bit changes it.
@pytest.mark.parametrize("value", ["5", "2.5", "x'05ff'", "'text'", "CAST(x'ff' AS TEXT)"])
@pytest.mark.parametrize("column", ["dtype", "shape", "checksum", "bytes"])
def test_contents_of_another_type_are_a_miss(filled, column, value):
    change(filled, f"UPDATE contents SET {column} = {value} WHERE id = 4")
    with Store(filled, PLENTY) as store:
        assert key(3) not in read_or_nothing(store, b"space", ALL)


@pytest.mark.parametrize("value", ["'text'", "x'05ff'", "CAST(x'ff' AS TEXT)"])
@pytest.mark.parametrize("column", ["used", "size"])
def test_entries_of_another_type_do_no_harm(filled, column, value):
    change(filled, f"UPDATE entries SET {column} = {value} WHERE id = 4")
    with Store(filled, PLENTY) as store:
        found = read_or_nothing(store, b"space", ALL)
        for picture, values in found.items():
            assert_array_equal(values, row(int.from_bytes(picture), 50))


@pytest.mark.parametrize("value", ["5", "x'05ff'", "CAST(x'ff' AS TEXT)"])
@pytest.mark.parametrize("column", ["identity", "picture", "checksum"])
def test_files_of_another_type_are_forgotten(filled, column, value):
    change(filled, f"UPDATE files SET {column} = {value}")
    with Store(filled, PLENTY) as store, suppress(sqlite3.Error):
        assert store.files(["/a.png"]) == {}


def flips_before(folder, landmark, n_bytes):
    """The file with one bit flipped, for each bit of the bytes before a landmark."""
    file = file_of(folder)
    content = file.read_bytes()
    places = [found.start() for found in re.finditer(re.escape(landmark), content)]
    assert places
    for place in places:
        for bit in range(8 * n_bytes):
            changed = bytearray(content)
            changed[place - 1 - bit // 8] ^= 1 << bit % 8
            file.write_bytes(changed)
            yield


def test_flipped_bits_in_the_header_of_an_entry_give_no_wrong_values(filled):
    for _ in flips_before(filled, b"<f450", 12):  # dtype and shape of each entry
        with suppress(sqlite3.Error), Store(filled, PLENTY) as store:
            for picture, values in store.read(b"space", ALL).items():
                assert_array_equal(values, row(int.from_bytes(picture), 50))


def test_flipped_bits_in_the_header_of_a_key_give_no_wrong_values(filled):
    for _ in flips_before(filled, key(3), 12):
        with suppress(sqlite3.Error), Store(filled, PLENTY) as store:
            for picture, values in store.read(b"space", ALL).items():
                assert_array_equal(values, row(int.from_bytes(picture), 50))


def test_flipped_bits_in_the_header_of_a_file_give_no_wrong_digest(filled):
    for _ in flips_before(filled, b"/a.png", 12):
        with suppress(sqlite3.Error), Store(filled, PLENTY) as store:
            assert store.files(["/a.png"]) in ({}, {"/a.png": StoredFile("looks so", key(3))})


# Other stores.


@pytest.mark.usefixtures("either_journal")
def test_reading_writes_nothing(filled):
    Store(filled, PLENTY).__exit__(None, None, None)  # may change the journal mode
    before = file_of(filled).read_bytes()
    with Store(filled, PLENTY) as ours:
        before_reading = changes(ours)
        with Store(filled, PLENTY) as theirs:
            assert len(theirs.read(b"space", ALL)) == 10
            assert len(theirs.files(["/a.png"])) == 1
        assert changes(ours) == before_reading
    assert file_of(filled).read_bytes() == before


def test_a_newer_format_is_left_alone(filled):
    change(filled, f"PRAGMA user_version = {FORMAT + 1}")
    before = file_of(filled).read_bytes()
    with pytest.raises(NewerFormatError, match=f"format is {FORMAT + 1}, newer than {FORMAT}"):
        Store(filled, PLENTY)
    assert file_of(filled).read_bytes() == before


def test_a_newer_format_keeps_its_journal_mode(filled, monkeypatch):
    change(filled, "PRAGMA journal_mode = WAL")
    change(filled, f"PRAGMA user_version = {FORMAT + 1}")
    before = file_of(filled).read_bytes()
    monkeypatch.setattr(connection_module, "journal_mode", lambda _version: "TRUNCATE")
    with pytest.raises(NewerFormatError):
        Store(filled, PLENTY)
    assert file_of(filled).read_bytes() == before


@pytest.mark.parametrize(("before", "after"), [("WAL", "TRUNCATE"), ("TRUNCATE", "WAL")])
def test_a_store_moves_out_of_wal_and_not_into_it(tmp_path, monkeypatch, before, after):
    monkeypatch.setattr(connection_module, "journal_mode", lambda _version: before)
    with Store(tmp_path, PLENTY) as store:
        fill(store, 3, 3)
    monkeypatch.setattr(connection_module, "journal_mode", lambda _version: after)
    with Store(tmp_path, PLENTY) as store:
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
        assert len(store.read(b"space", ALL)) == 3


@pytest.mark.usefixtures("either_journal")
def test_discard_removes_a_store_and_no_other_file(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with Store(tmp_path, PLENTY) as store:
        fill(store, 3, 3)
        (tmp_path / FOLDER / f"{FILE}-journal").touch()
        discard(tmp_path)  # while it is in use
        assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    with Store(tmp_path, PLENTY) as store:
        assert store.counts()["rows"] == 0
    discard(tmp_path)
    discard(tmp_path)  # nothing to remove is no error
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_discard_without_a_folder(tmp_path):
    discard(tmp_path / "missing")
    assert os.listdir(tmp_path) == []


def test_a_closed_store_leaves_nothing_open(tmp_path):
    with Store(tmp_path, PLENTY) as store:
        fill(store, 3, 3)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store.counts()
    shutil.rmtree(tmp_path / FOLDER)
    with Store(tmp_path, PLENTY) as store:
        assert store.counts()["rows"] == 0


def test_a_write_that_fails_writes_nothing(tmp_path):
    class Broken:
        dtype, shape = np.dtype("f4"), (1,)

        def tobytes(self):
            return "é\ud800"  # neither bytes nor a text that SQLite accepts

    with Store(tmp_path, PLENTY) as store:
        with pytest.raises(UnicodeEncodeError):
            store.write(b"space", {key(0): row(0), key(1): Broken()})
        assert store.counts()["rows"] == 0
        fill(store, 2, 3)
        assert store.counts()["rows"] == 2

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sktransfer import cache_info, clear_cache
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.store import cache as cache_module
from sktransfer.activations.store import database as store_module
from sktransfer.activations.store import picture_keys, stored
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.database import FILE, FOLDER, FORMAT, Store
from sktransfer.activations.streaming import Pass
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import CacheWarning
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images

PRESET = Preprocessing(32, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Corner(nn.Module):
    def forward(self, x):
        return x[:, :, :8, :8].float()


class Colours(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def network(**links):
    return FrozenNetwork(list(links.items()))


NETWORK = network(corner=Corner(), colours=Colours())
MAPS = network(corner=Corner())


def run(folder, X, network=NETWORK, then=None):
    """One pass, of which anybody can compute the results."""
    choice = EngineChoice(engine="torch")
    one_pass = Pass(network, PRESET, choice, batch_size=5, n_jobs=1, cache=folder)
    return one_pass.collect(as_images(X), then)[0]


@contextlib.contextmanager
def told():
    """The warnings of a block, all of them."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def only(found):
    """The one warning there is."""
    assert [warning.category for warning in found] == [CacheWarning]
    return str(found[0].message)


def file_of(folder):
    return folder / FOLDER / FILE


def change(folder, statement, *values):
    with closing(sqlite3.connect(file_of(folder))) as connection, connection:
        connection.execute(statement, values)


@pytest.fixture
def expected(pictures):
    return run(None, pictures[0])


@pytest.fixture
def warm(tmp_path, pictures):
    """A folder in which everything is stored."""
    folder = tmp_path / "cache"
    run(folder, pictures[0], MAPS)
    run(folder, pictures[0])
    return folder


@pytest.fixture
def computed(monkeypatch):
    """The number of pictures in each batch that was computed rather than read."""
    batches = []
    original = Corner.forward
    monkeypatch.setattr(
        Corner, "forward", lambda self, x: batches.append(len(x)) or original(self, x)
    )
    return batches


def test_results_by_hand(tmp_path, pictures):
    X, _ = pictures
    for _ in range(2):
        assert np.allclose(run(tmp_path, X), X[:, :8, :8].mean((1, 2)), rtol=1e-5)


def test_a_warm_store_computes_nothing(warm, pictures, computed, expected):
    computed.clear()  # what `expected` took
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []


# Damage: one warning, the right results, and a new store.


def cut(length):
    """Leave so many bytes; if negative, take so many away."""

    def damage(file):
        os.truncate(file, length if length > 0 else file.stat().st_size + length)

    return damage


def replaced(old, new):
    def damage(file):
        content = file.read_bytes()
        assert old in content
        file.write_bytes(content.replace(old, new))

    return damage


def overwritten(start, content):
    def damage(file):
        with open(file, "r+b") as stream:
            stream.seek(start)
            stream.write(content)

    return damage


DAMAGE = {
    "1 byte left": cut(1),
    "99 bytes left": cut(99),
    "511 bytes left": cut(511),
    "512 bytes left": cut(512),
    "a page less 1 byte left": cut(16383),
    "a page left": cut(16384),
    "a page and 1 byte left": cut(16385),
    "half left": cut(5 * 16384 + 77),
    "a page lost": cut(-16384),
    "a byte lost": cut(-1),
    "no database": lambda file: file.write_bytes(b"something else entirely" * 5000),
    "header of zeros": overwritten(0, bytes(100)),
    "header of noise": overwritten(0, random.Random(0).randbytes(100)),
    "first page of noise": overwritten(0, random.Random(0).randbytes(16384)),
    "tables' page of noise": overwritten(100, random.Random(0).randbytes(16284)),
    "all but the header of noise": overwritten(16384, random.Random(0).randbytes(10 * 16384)),
    "future file format": overwritten(18, b"\x09\x09"),
    "schema that is no SQL": replaced(b"CREATE TABLE entries", b"CREATE TABEL entries"),
    "schema that is no text": replaced(b"CREATE TABLE entries", b"CREATE TABLE entr\xffes"),
    "schema without a table": replaced(b"entries", b"entrees"),
    "schema without a column": replaced(
        b"checksum BLOB NOT NULL, bytes", b"checksun BLOB NOT NULL, bytes"
    ),
    "schema without a key": replaced(
        b"id INTEGER PRIMARY KEY, dtype", b"ib INTEGER PRIMARY KEY, dtype"
    ),
}


# SQLite takes the one for an empty file, and the other byte did not matter.
UNNOTICED = [DAMAGE["1 byte left"], DAMAGE["a byte lost"]]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_renewed(warm, pictures, expected, computed, damage):
    damage(file_of(warm))
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    if found or damage not in UNNOTICED:
        assert "is replaced by a new one; results stay the same" in only(found)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)  # fills it again, at the latest
        computed.clear()
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []
    assert cache_info(warm).rows in (24, 48)  # with or without what another network gave


VALUES = {
    "shape": "UPDATE contents SET shape = CAST(x'ff' AS TEXT)",
    "dtype": "UPDATE contents SET dtype = CAST(x'ff' AS TEXT)",
    "bytes": "UPDATE contents SET bytes = 5",
    "bytes as text": "UPDATE contents SET bytes = CAST(bytes AS TEXT)",
    "checksum": "UPDATE contents SET checksum = 5",
    "used": "UPDATE entries SET used = x'00'",
    "used as text": "UPDATE entries SET used = 'today'",
    "picture": "UPDATE entries SET picture = 'picture ' || id",
    "identity": "UPDATE files SET identity = CAST(x'ff' AS TEXT)",
    "identity as bytes": "UPDATE files SET identity = CAST(identity AS BLOB)",
    "file's picture": "UPDATE files SET picture = 5",
    "file's checksum": "UPDATE files SET checksum = 5",
    "path": "UPDATE files SET path = CAST(path AS BLOB)",
}


@pytest.mark.parametrize("damage", VALUES.values(), ids=VALUES)
def test_values_of_other_types_cost_one_pass(
    tmp_path, picture_files, expected, computed, monkeypatch, damage
):
    monkeypatch.setattr(picture_keys, "_SETTLED", -1)  # files are remembered at once
    folder, (paths, _) = tmp_path / "cache", picture_files
    run(folder, paths, MAPS)
    run(folder, paths)
    assert cache_info(folder).files == 24
    change(folder, damage)
    with told() as found:
        assert torch.equal(run(folder, paths), expected)
    assert len(found) <= 1
    assert all("is replaced by a new one" in str(warning.message) for warning in found)
    with told() as found:
        assert torch.equal(run(folder, paths), expected)
        computed.clear()
        assert torch.equal(run(folder, paths), expected)
    assert not found
    assert computed == []


def test_an_empty_file_is_an_empty_store(warm, pictures, expected):
    os.truncate(file_of(warm), 0)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert cache_info(warm).rows == 24


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A store that has the same bytes on every machine."""
    folder = tmp_path_factory.mktemp("sample")
    X = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module.time, "time", lambda: 1.8e9 + 0.3)
        run(folder, X, MAPS)
        run(folder, X)
    return X, {name: run(None, X, net) for name, net in (("maps", MAPS), ("rows", NETWORK))}, folder


def flip(file, seed, n):
    """Change n bytes, half of them where the file is not empty."""
    chance, content = random.Random(seed), bytearray(file.read_bytes())
    filled = [place for place, byte in enumerate(content) if byte]
    for i in range(n):
        place = chance.choice(filled) if i % 2 else chance.randrange(len(content))
        content[place] ^= chance.randrange(1, 256)
    file.write_bytes(content)


@pytest.mark.parametrize("n", [2, 20, 200])
@pytest.mark.parametrize("seed", [*range(12), 418, 706, 3062])  # the last: a row that hides
def test_flipped_bytes_never_give_wrong_results(tmp_path, sample, seed, n):
    X, expected, clean = sample
    folder = tmp_path / "cache"
    shutil.copytree(clean, folder)
    flip(file_of(folder), seed, n)
    for name, net in (("rows", NETWORK), ("maps", MAPS), ("rows", NETWORK)):
        with told() as found:
            assert torch.equal(run(folder, X, net), expected[name])
        assert [warning.category for warning in found] in ([], [CacheWarning])


@pytest.mark.slow
def test_flipped_bytes_never_give_wrong_results_at_length(tmp_path, sample):
    X, expected, clean = sample
    troubles = set()
    for seed in range(100, 3100):
        folder = tmp_path / str(seed)
        shutil.copytree(clean, folder)
        flip(file_of(folder), seed, (1, 3, 20, 200)[seed % 4])
        for name, net in (("rows", NETWORK), ("maps", MAPS), ("rows", NETWORK)):
            with told() as found:
                try:
                    assert torch.equal(run(folder, X, net), expected[name])
                except Exception as error:  # all of them at once tell more than the first
                    troubles.add((seed, repr(error)))
            if len(found) > 1:
                troubles.add((seed, f"{len(found)} warnings"))
        shutil.rmtree(folder)
    assert not troubles


def test_damage_during_a_pass_is_survived(warm, pictures, expected):
    change(warm, "DELETE FROM contents WHERE id > 30")  # some are left to compute
    damages = [overwritten(0, random.Random(0).randbytes(10 * 16384))]

    def damage(values):
        while damages:
            damages.pop()(file_of(warm))
        return values

    with told() as found:
        assert torch.equal(run(warm, pictures[0], then=damage), expected)
    assert [warning.category for warning in found] == [CacheWarning]
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
        assert torch.equal(run(warm, pictures[0]), expected)
    assert len(found) <= 1


# Other faults: one warning, the right results, and the folder left alone.


def test_a_file_instead_of_a_folder(tmp_path, pictures, expected):
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        with told() as found:
            assert torch.equal(run(folder, pictures[0]), expected)
        words = only(found)
        assert repr(str(folder)) in words
        assert "Give another folder, or cache=None" in words
    assert file.read_text() == "mine"


def test_a_file_in_place_of_the_stores_folder(tmp_path, pictures, expected):
    (tmp_path / FOLDER).write_text("mine")
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)
    assert (tmp_path / FOLDER).read_text() == "mine"


def test_a_folder_in_place_of_the_stores_file(tmp_path, pictures, expected):
    file_of(tmp_path).mkdir(parents=True)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)


def test_links_that_lead_nowhere(tmp_path, pictures, expected):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with told() as found:
        assert torch.equal(run(tmp_path / "loop", pictures[0]), expected)
    only(found)


def refusing(error):
    """A function that takes anything and raises."""

    def refuse(*_args, **_options):
        raise error

    return refuse


def test_a_folder_that_cant_be_made(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing(PermissionError(13, "Permission denied")))
    with told() as found:
        assert torch.equal(run(tmp_path / "new", pictures[0]), expected)
    assert "Permission denied" in only(found)


def test_a_file_that_cant_be_opened(tmp_path, pictures, expected, monkeypatch):
    error = sqlite3.OperationalError("unable to open database file")
    monkeypatch.setattr(sqlite3, "connect", refusing(error))
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert "unable to open database file. So activations are computed without it" in only(found)


needs_permissions = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() == 0, reason="root may do everything"
)


@needs_permissions
def test_an_unwritable_folder(tmp_path, pictures, expected):
    folder = tmp_path / "new"
    folder.mkdir(mode=0o500)
    with told() as found:
        assert torch.equal(run(folder, pictures[0]), expected)
    only(found)


@needs_permissions
def test_an_unwritable_store_is_read(warm, pictures, expected, computed):
    file_of(warm).chmod(0o400)
    (warm / FOLDER).chmod(0o500)
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []
    with told() as found:
        other = pictures[0][:, ::-1]
        assert torch.equal(run(warm, other), run(None, other))
    only(found)
    (warm / FOLDER).chmod(0o700)


def forbid_writing(connect):
    """Connections as they are to a file that may only be read."""

    def connect_to_read(path, **options):
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    return connect_to_read


def test_a_read_only_store_is_read(warm, pictures, expected, computed, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", forbid_writing(sqlite3.connect))
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []


def test_a_read_only_store_of_long_ago_is_read(warm, pictures, expected, computed, monkeypatch):
    change(warm, "UPDATE entries SET used = 0.5")  # now is worth noting, if it can be
    monkeypatch.setattr(sqlite3, "connect", forbid_writing(sqlite3.connect))
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert [warning.category for warning in found] in ([], [CacheWarning])
    assert computed == []


def test_a_read_only_store_warns_once(warm, pictures, monkeypatch):
    other = pictures[0][:, ::-1]
    expected = run(None, other)
    monkeypatch.setattr(sqlite3, "connect", forbid_writing(sqlite3.connect))
    with told() as found:
        assert torch.equal(run(warm, other), expected)
    assert "readonly" in only(found)


@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
def test_deleted_during_use(tmp_path, pictures, expected, monkeypatch, mode):
    monkeypatch.setattr(store_module, "journal_mode", lambda _version: mode)
    monkeypatch.setattr(stored, "_ROWS", 5)  # every batch is written
    folder, batches = tmp_path / "cache", []

    def delete(values):
        batches.append(values)
        if len(batches) == 3:
            shutil.rmtree(folder)
        return values

    with told() as found:
        assert torch.equal(run(folder, pictures[0], then=delete), expected)
    assert [warning.category for warning in found] in ([], [CacheWarning])
    with told() as found:
        assert torch.equal(run(folder, pictures[0]), expected)
        assert torch.equal(run(folder, pictures[0]), expected)
    assert not found
    assert cache_info(folder).rows == 24


def test_cleared_during_use(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(stored, "_ROWS", 5)
    with told() as found:
        values = run(tmp_path, pictures[0], then=lambda rows: clear_cache(tmp_path) or rows)
    assert torch.equal(values, expected)
    assert [warning.category for warning in found] in ([], [CacheWarning])
    assert cache_info(tmp_path).size == 0


def test_a_full_disk(tmp_path, pictures, expected, monkeypatch):
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    monkeypatch.setattr(Store, "write", refusing(error))
    monkeypatch.setattr(stored, "_ROWS", 5)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert "the disk, or the SKTRANSFER_CACHE_SIZE of 20,000,000,000 bytes, is full" in only(found)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
def test_a_disk_that_fills_up(small_disk, monkeypatch, mode):
    monkeypatch.setattr(store_module, "journal_mode", lambda _version: mode)
    monkeypatch.setattr(stored, "_ROWS", 5)
    X = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    pixels = FrozenNetwork()
    expected = run(None, X, pixels)
    with told() as found:
        assert torch.equal(run(small_disk, X, pixels), expected)
    assert not found
    free = shutil.disk_usage(small_disk).free
    (small_disk / "other").write_bytes(bytes(free - 100_000))  # somebody else's
    larger = np.concatenate([X, X[:, ::-1], X[:, :, ::-1]])
    for _ in range(2):
        with told() as found:
            assert torch.equal(run(small_disk, larger, pixels)[:40], expected)
        assert "is full" in only(found)
    (small_disk / "other").unlink()
    with told() as found:
        assert torch.equal(run(small_disk, X, pixels), expected)
    assert not found


def test_a_lock_that_is_not_given_up(warm, pictures, expected, monkeypatch):
    monkeypatch.setattr(store_module, "_WAIT", 0.05)
    with closing(sqlite3.connect(file_of(warm), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with told() as found:
            assert torch.equal(run(warm, pictures[0]), expected)
        assert "locked" in only(found)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found


def test_a_lock_that_comes_while_it_runs(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(store_module, "_WAIT", 0.05)
    monkeypatch.setattr(stored, "_ROWS", 5)
    run(tmp_path, pictures[0][:1])
    with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as other:

        def lock(values):
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
            return values

        with told() as found:
            assert torch.equal(run(tmp_path, pictures[0], then=lock), expected)
        assert "locked" in only(found)


def test_a_lock_is_waited_for(warm, pictures, expected):
    other = sqlite3.connect(file_of(warm), isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        with told() as found:
            assert torch.equal(run(warm, pictures[0]), expected)
        timer.join()
    assert not found


def test_a_store_that_is_open_in_another_journal_mode(tmp_path, pictures, expected, monkeypatch):
    # Two environments on one folder, of which one has an SQLite whose WAL loses data.
    monkeypatch.setattr(store_module, "_WAIT", 0.05)
    monkeypatch.setattr(store_module, "journal_mode", lambda _version: "WAL")
    with Store(tmp_path, 10**9) as other:
        other.write(b"space", {b"key": np.zeros(1)})
        monkeypatch.setattr(store_module, "journal_mode", lambda _version: "TRUNCATE")
        with told() as found:
            assert torch.equal(run(tmp_path, pictures[0]), expected)
        assert [warning.category for warning in found] in ([], [CacheWarning])
        assert other.read(b"space", [b"key"])[b"key"] == 0
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert not found


@pytest.mark.parametrize("n_stored", [0, 1, 7, 23, 24])
@pytest.mark.parametrize("network", [NETWORK, MAPS], ids=["rows", "maps"])
def test_what_is_stored_changes_nothing_in_what_comes_after(tmp_path, pictures, network, n_stored):
    # Libraries choose a kernel, and with it the last bits, by numbers of rows and their layout.
    X, _ = pictures
    stored_rows = np.random.default_rng(0).permutation(24)[:n_stored]
    if n_stored:
        run(tmp_path, X[stored_rows[::2]], network)
        run(tmp_path, X[stored_rows], MAPS)

    def seen(folder):
        parts = []
        run(folder, X, network, then=lambda part: parts.append(part) or part)
        return parts

    found, expected = seen(tmp_path), seen(None)
    assert [len(part) for part in expected] == [5, 5, 5, 5, 4]
    assert [part.stride() for part in found] == [part.stride() for part in expected]
    assert all(part.data_ptr() % 64 == 0 for part in (*found, *expected))
    assert all(torch.equal(*parts) for parts in zip(found, expected, strict=True))


@pytest.mark.parametrize("network", [NETWORK, MAPS], ids=["rows", "maps"])
def test_rows_evicted_during_a_pass_are_computed(warm, pictures, network):
    change(warm, "DELETE FROM contents WHERE id % 3 = 0")
    expected = run(None, pictures[0], network)

    def evict(values):
        with Store(warm, 10**9) as other:
            other._evict(2_000)
        return values

    with told() as found:
        assert torch.equal(run(warm, pictures[0], network, then=evict), expected)
    assert not found


def test_a_network_disk_is_not_used(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(cache_module, "_is_on_network_disk", lambda _folder: True)
    with told() as found:
        assert torch.equal(run(tmp_path / "new", pictures[0]), expected)
    assert "it is on a network disk" in only(found)
    assert not (tmp_path / "new").exists()


MOUNTS = r"""
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local ext4 rw 0 0
//server/share /mnt/share cifs rw 0 0
somebody@server:/ /mnt/ssh fuse.sshfs rw 0 0
server:/data /mnt/with\040space nfs rw 0 0
/dev/sdc1 /mnt/twice ext4 rw 0 0
server:/twice /mnt/twice lustre rw 0 0
tmpfs /tmp tmpfs rw 0 0
""".lstrip()


@pytest.mark.parametrize(
    ("folder", "is_network"),
    [
        ("/data", False),
        ("/home", True),
        ("/home/someone/cache", True),
        ("/home/local/cache", False),
        ("/homes", False),
        ("/mnt/share/a/b/c", True),
        ("/mnt/ssh", True),
        ("/mnt/with space/cache", True),
        ("/mnt/twice/cache", True),
        ("/tmp/cache", False),
    ],
)
def test_network_disks_are_known_by_their_mounts(monkeypatch, folder, is_network):
    monkeypatch.setattr(Path, "resolve", lambda self: self)
    monkeypatch.setattr(Path, "read_text", lambda _self, **_options: MOUNTS)
    assert cache_module._is_on_network_disk(Path(folder)) == is_network


def test_systems_without_a_list_of_mounts(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "read_text", refusing(FileNotFoundError(2, "No such file")))
    assert not cache_module._is_on_network_disk(tmp_path)


def test_this_folder_is_local(tmp_path):
    assert not cache_module._is_on_network_disk(tmp_path)


def test_a_newer_format_is_left_alone(warm, pictures, expected):
    change(warm, f"PRAGMA user_version = {FORMAT + 1}")
    before = file_of(warm).read_bytes()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert f"its format is {FORMAT + 1}, newer than {FORMAT}" in only(found)
    assert file_of(warm).read_bytes() == before


@pytest.mark.parametrize("size", ["0", "1KB", "0.15MB", "200KB"])
def test_a_limit_below_a_row_is_told_by_its_name(tmp_path, monkeypatch, size):
    X = np.random.default_rng(0).integers(0, 256, (6, 300, 300, 3), dtype=np.uint8)
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", size)
    pass_of_pixels = Pass(
        FrozenNetwork(), PRESET.at_size(300), EngineChoice(), batch_size=2, n_jobs=1, cache=tmp_path
    )
    with told() as found:
        pixels, _ = pass_of_pixels.collect(as_images(X))
    assert np.array_equal(pixels, X.transpose(0, 3, 1, 2))
    assert "SKTRANSFER_CACHE_SIZE" in only(found)


def test_a_limit_below_a_pass_is_used_to_the_full(tmp_path, monkeypatch):
    X = np.random.default_rng(0).integers(0, 256, (60, 100, 100, 3), dtype=np.uint8)
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "1MB")
    monkeypatch.setattr(stored, "_ROWS", 10)
    pass_of_pixels = Pass(
        FrozenNetwork(), PRESET.at_size(100), EngineChoice(), batch_size=5, n_jobs=1, cache=tmp_path
    )
    for _ in range(2):
        with told() as found:
            pixels, _ = pass_of_pixels.collect(as_images(X))
        assert np.array_equal(pixels, X.transpose(0, 3, 1, 2))
        assert not found
        assert 5 <= cache_info(tmp_path).rows <= 33
        assert cache_info(tmp_path).size <= 1_100_000


def test_paths_that_are_no_text(tmp_path, pictures, expected):
    # Names on Linux are bytes; Python stands for what is no UTF-8 by lone surrogates.
    paths = [os.fsdecode(bytes(tmp_path) + b"/caf\xe9 %d.png" % i) for i in range(24)]
    try:
        for path, picture in zip(paths, pictures[0], strict=True):
            Image.fromarray(picture).save(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    for _ in range(2):
        with told() as found:
            assert torch.equal(run(tmp_path / "cache", paths), expected)
        assert not found


# One warning each, and the cache by itself.


def test_without_a_folder_there_is_nothing(recwarn):
    with Cache(None) as cache:
        assert not cache.is_open
        cache.write(b"space", {b"key": np.zeros(1)})
        cache.put_model(b"key", b"model")
        assert cache.read(b"space", [b"key"]) == {}
        assert cache.holds(b"space", [b"key"]) == set()
        assert cache.files(["/a"]) == {}
        assert cache.get_model(b"key") is None
    assert not recwarn.list


def test_two_faults_are_one_warning(tmp_path, pictures, expected, monkeypatch):
    # Damage first, and a disk that is full once the new store is begun.
    run(tmp_path, pictures[0])
    file_of(tmp_path).write_bytes(b"no database" * 1000)
    monkeypatch.setattr(Store, "write", refusing(sqlite3.OperationalError("disk I/O error")))
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)


def test_a_store_renewed_by_another_process_is_kept(tmp_path, pictures, expected, monkeypatch):
    run(tmp_path, pictures[0])
    file_of(tmp_path).write_bytes(b"no database" * 1000)
    original = Store.__init__

    def first_someone_else(self, folder, limit):
        monkeypatch.setattr(Store, "__init__", original)
        try:
            original(self, folder, limit)
        except sqlite3.Error:
            clear_cache(folder)  # another process was faster
            with Store(folder, limit) as theirs:
                theirs.write(b"theirs", {b"key": np.zeros(1)})
            raise

    monkeypatch.setattr(Store, "__init__", first_someone_else)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)
    assert cache_info(tmp_path).rows == 24 + 1


def test_an_error_of_the_callers_is_not_swallowed(tmp_path, pictures):
    with pytest.raises(OSError, match="not the cache's"):
        run(tmp_path, pictures[0], then=refusing(OSError("not the cache's")))


# cache_info and clear_cache.


def test_info_counts(tmp_path, picture_files, pictures, monkeypatch):
    monkeypatch.setattr(picture_keys, "_SETTLED", -1)
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "30 MB")
    folder = tmp_path / "cache"
    run(folder, picture_files[0])
    run(folder, picture_files[0][:10], MAPS)
    run(folder, pictures[0][:3])
    info = cache_info(str(folder))
    assert (info.folder, info.rows, info.pictures) == (str(folder), 24 + 10 + 3, 24 + 3)
    assert (info.files, info.limit) == (24, 30_000_000)
    assert info.size == sum(file.stat().st_size for file in (folder / FOLDER).iterdir())
    assert 100_000 < info.size < 1_000_000


@pytest.mark.parametrize("kind", [str, Path])
def test_info_of_a_folder_that_is_not_there(tmp_path, kind):
    folder = tmp_path / "missing"
    info = cache_info(kind(folder))
    assert info.folder == str(folder)
    assert (info.rows, info.pictures, info.files, info.size) == (0, 0, 0, 0)
    assert info.limit == 20_000_000_000
    clear_cache(kind(folder))
    assert not folder.exists()


def test_info_of_a_damaged_store(warm):
    file_of(warm).write_bytes(b"no database" * 1000)
    with told() as found:
        info = cache_info(warm)
    only(found)
    assert (info.rows, info.pictures, info.files) == (0, 0, 0)


def test_info_of_a_newer_format(warm):
    change(warm, f"PRAGMA user_version = {FORMAT + 1}")
    before = file_of(warm).read_bytes()
    with told() as found:
        info = cache_info(warm)
    assert "newer" in only(found)
    assert (info.rows, info.pictures, info.files) == (0, 0, 0)
    assert info.size >= len(before)
    assert file_of(warm).read_bytes() == before


@pytest.mark.parametrize("below", [".", "below"])
def test_info_of_a_file(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with told() as found:
        info = cache_info(tmp_path / "file" / below)
    assert (info.rows, info.pictures, info.files, info.size) == (0, 0, 0, 0)
    assert len(found) <= 1


def test_info_of_a_store_that_is_being_made(warm, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _self: False)  # a moment ago
    assert cache_info(warm).rows == 0


def test_info_of_a_store_that_goes_away(warm, monkeypatch):
    original = Cache.counts

    def last(self):
        counts = original(self)
        clear_cache(warm)
        return counts

    monkeypatch.setattr(Cache, "counts", last)
    assert cache_info(warm).size == 0


@pytest.mark.parametrize("damage", [None, "no database", "newer format", "no file"])
def test_clearing_takes_all_and_leaves_the_rest(warm, pictures, damage):
    (warm / "notes.txt").write_text("mine")
    if damage == "no database":
        file_of(warm).write_bytes(b"no database" * 1000)
    elif damage == "newer format":
        change(warm, f"PRAGMA user_version = {FORMAT + 1}")
    elif damage == "no file":
        file_of(warm).unlink()
    clear_cache(warm)
    assert [file.name for file in warm.iterdir()] == ["notes.txt"]
    assert cache_info(warm).rows == cache_info(warm).size == 0
    run(warm, pictures[0])
    assert cache_info(warm).rows == 24


def test_clearing_finishes_what_was_interrupted(warm, monkeypatch):
    (warm / "activations-of-mine.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refusing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            clear_cache(warm)
    clear_cache(warm)
    assert [file.name for file in warm.iterdir()] == ["activations-of-mine.txt"]


def test_clearing_what_cant_be_cleared_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="Not a directory"):
        clear_cache(tmp_path / "file")

import contextlib
import hashlib
import itertools
import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sktransfer import cache_info
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.store import picture_keys as module
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.picture_keys import picture_keys
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images import sources
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images

PRESET = Preprocessing(32, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def keys_of(X, folder=None):
    with Cache(folder) as cache:
        return picture_keys(as_images(X), cache, 2)


def digests(X, folder=None):
    return keys_of(X, folder).digests


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files whose content was hashed."""
    names = []
    original = hashlib.file_digest

    def spy(file, name):
        names.append(os.path.basename(file.name))
        return original(file, name)

    monkeypatch.setattr(module, "hashlib", SimpleNamespace(**vars(hashlib)))
    monkeypatch.setattr(module.hashlib, "file_digest", spy)
    return names


@pytest.fixture
def settled(monkeypatch):
    """Files that were just written count as old."""
    monkeypatch.setattr(module, "_SETTLED", -10)


@pytest.fixture
def paths(picture_files):
    return picture_files[0]


@pytest.fixture
def look_after(monkeypatch):
    """Set the clock to so many seconds after the newest file changed."""

    def look_after(seconds, paths):
        newest = max(os.stat(path).st_ctime for path in paths)
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: newest + seconds))

    return look_after


def test_a_digest_is_of_the_content(paths, pictures):
    keys = keys_of([paths[0], pictures[0][0]])
    with open(paths[0], "rb") as file:
        assert keys.digests[0] == hashlib.sha256(file.read()).digest()
    pixels = hashlib.sha256(b"pixels (32, 32)" + pictures[0][0].tobytes()).digest()
    assert keys.digests[1] == pixels


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_read_once(tmp_path, paths, hashed):
    first = digests(paths, tmp_path / "cache")
    assert sorted(hashed) == sorted(map(os.path.basename, paths))
    hashed.clear()
    assert digests(paths, tmp_path / "cache") == first
    assert digests([*paths[:3], *paths[:3]], str(tmp_path / "cache")) == first[:3] * 2
    assert hashed == []
    assert cache_info(tmp_path / "cache").files == 24


def test_files_that_may_still_change_are_read_again(tmp_path, paths, hashed, look_after):
    look_after(1, paths)
    first = digests(paths, tmp_path / "cache")
    hashed.clear()
    assert digests(paths, tmp_path / "cache") == first
    assert len(hashed) == 24
    assert cache_info(tmp_path / "cache").files == 0


def test_files_become_old_enough(tmp_path, paths, hashed, look_after):
    look_after(3, paths)
    digests(paths, tmp_path / "cache")
    hashed.clear()
    digests(paths, tmp_path / "cache")
    assert hashed == []


def test_files_from_the_future_are_not_trusted(tmp_path, paths, hashed):
    later = time.time() + 1000
    for path in paths:
        os.utime(path, (later, later))
    digests(paths, tmp_path / "cache")
    hashed.clear()
    digests(paths, tmp_path / "cache")
    assert len(hashed) == 24


def test_an_old_time_on_a_new_file_is_not_trusted(tmp_path, paths, hashed, look_after):
    for path in paths:
        os.utime(path, (0, 0))  # as in an unpacked archive; its ctime is new
    look_after(1, paths)
    digests(paths, tmp_path / "cache")
    hashed.clear()
    digests(paths, tmp_path / "cache")
    assert len(hashed) == 24


def saved(path, value):
    """A bitmap, whose file size does not depend on its colour."""
    Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(path)
    return str(path)


def save_over(path, value):
    """Write to the same file, once the file system's clock has ticked: it does so in ms."""
    before = os.stat(path).st_ctime_ns
    while True:
        saved(path, value)
        if os.stat(path).st_ctime_ns != before:
            return


@pytest.mark.usefixtures("settled")
def test_a_file_replaced_by_a_similar_one_is_noticed(tmp_path, hashed):
    path, other = saved(tmp_path / "a.bmp", 10), saved(tmp_path / "b.bmp", 20)
    old, new = digests([path, other], tmp_path / "cache")
    found = os.stat(path)
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert os.stat(other).st_size == found.st_size
    hashed.clear()
    os.replace(other, path)
    assert os.stat(path).st_mtime_ns == found.st_mtime_ns
    assert digests([path], tmp_path / "cache") == [new] != [old]
    assert hashed == ["a.bmp"]


@pytest.mark.usefixtures("settled")
def test_a_file_written_over_in_place_is_noticed(tmp_path, hashed):
    path = saved(tmp_path / "a.bmp", 10)
    (old,) = digests([path], tmp_path / "cache")
    found = os.stat(path)
    hashed.clear()
    save_over(path, 20)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # as a careful copy does
    (new,) = digests([path], tmp_path / "cache")
    assert new != old
    assert hashed == ["a.bmp"]
    assert cache_info(tmp_path / "cache").files == 1


@pytest.mark.usefixtures("settled")
def test_a_link_that_leads_elsewhere_is_noticed(tmp_path):
    a, b, link = saved(tmp_path / "a.bmp", 10), saved(tmp_path / "b.bmp", 20), tmp_path / "link.bmp"
    link.symlink_to(a)
    first = digests([a, b, str(link)], tmp_path / "cache")
    assert first[2] == first[0]
    link.unlink()
    link.symlink_to(b)
    assert digests([str(link)], tmp_path / "cache") == [first[1]]


@pytest.mark.usefixtures("settled")
def test_paths_mean_files_wherever_they_are_asked_from(tmp_path, hashed, monkeypatch):
    for name, value in (("one", 10), ("two", 20)):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / "a.bmp", value)
    found = []
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path / name)
        found += digests(["a.bmp"], tmp_path / "cache")
    assert found[0] != found[1]
    hashed.clear()
    assert digests([tmp_path / "one" / "a.bmp"], tmp_path / "cache") == found[:1]
    assert (
        digests([str(tmp_path / "one" / ".." / "two" / "a.bmp")], tmp_path / "cache") == found[1:]
    )
    assert hashed == []


@pytest.mark.usefixtures("settled")
def test_the_parent_of_a_link_is_that_of_its_target(tmp_path):
    # The system does not open "a.bmp" beside the link for "link/../a.bmp".
    (tmp_path / "far" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "below")
    here, far = saved(tmp_path / "a.bmp", 10), saved(tmp_path / "far" / "a.bmp", 200)
    path = str(tmp_path / "link" / ".." / "a.bmp")
    assert digests([path, here, far], tmp_path / "cache") == digests([far, here, far])
    for _ in range(2):  # computed, and read
        assert colours([path, here], tmp_path / "cache")[:, 0].round().tolist() == [200, 10]


@pytest.mark.usefixtures("settled")
def test_the_working_folder_may_change_during_a_pass(tmp_path, monkeypatch):
    for name, value in (("one", 10), ("two", 200)):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / "a.bmp", value)
    monkeypatch.chdir(tmp_path / "one")
    original = sources.decode_file

    def go_elsewhere(path):
        monkeypatch.chdir(tmp_path / "two")
        return original(path)

    monkeypatch.setattr(sources, "decode_file", go_elsewhere)
    colours(["a.bmp"], tmp_path / "cache")
    for name, value in (("one", 10), ("two", 200)):
        path = str(tmp_path / name / "a.bmp")
        assert colours([path], tmp_path / "cache")[:, 0].round().tolist() == [value]


IMPOSSIBLE = {"NUL": "a\0b.png", "lone surrogate": "\ud800.png"}


@pytest.mark.parametrize("name", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_paths_that_no_file_can_have_are_unreadable(tmp_path, paths, name):
    keys = keys_of([paths[0], name], tmp_path / "cache")
    assert (keys.digests[0] is None, keys.digests[1]) == (False, None)
    X = [paths[0], name, paths[1]]
    expected = colours(X, None, skip_unreadable=True)
    for _ in range(2):
        found = colours(X, tmp_path / "cache", skip_unreadable=True)
        np.testing.assert_array_equal(found, expected)
    assert np.isnan(expected[1]).all()
    assert cache_info(tmp_path / "cache").rows == 2


@pytest.mark.usefixtures("settled")
def test_digests_are_stored_while_others_are_computed(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 5)
    waiting = []

    class Pool(module.ThreadPoolExecutor):
        def submit(self, *args):
            waiting.append(1)
            return super().submit(*args)

    original = Cache.remember_files

    def remember(self, files):
        original(self, files)
        assert len(waiting) <= 5
        waiting.clear()
        if cache_info(tmp_path / "cache").files == 15:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "ThreadPoolExecutor", Pool)
        patch.setattr(Cache, "remember_files", remember)
        with pytest.raises(KeyboardInterrupt):
            digests(paths, tmp_path / "cache")
    assert cache_info(tmp_path / "cache").files == 15
    assert digests(paths, tmp_path / "cache") == digests(paths)
    assert cache_info(tmp_path / "cache").files == 24


def test_one_content_has_one_digest(tmp_path):
    a, b = saved(tmp_path / "a.bmp", 10), saved(tmp_path / "copy.bmp", 10)
    first, second = digests([a, b])
    assert first == second


def test_pictures_in_memory_are_known_by_their_pixels(pictures):
    pixels = np.array(pictures[0][0])
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    alike = [
        pixels,
        pixels[::1, ::1],
        Image.fromarray(pixels),
        tensor,
        tensor.clone(),
        pixels / 255,
    ]
    found = digests(alike)
    assert len(set(found)) == 1
    changed = pixels.copy()
    changed[31, 31, 2] ^= 1
    others = [
        changed,
        pixels[::-1],
        pixels[:, ::-1],
        pixels[..., ::-1],
        pixels[:16],
        pixels.reshape(16, 64, 3),
    ]
    assert len({*found, *digests(others)}) == 7


def test_grey_and_colour_are_the_same_picture():
    grey = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    colour = np.repeat(grey[0][..., None], 3, axis=2)
    assert digests(grey) == digests([colour])


@pytest.mark.parametrize("kind", ["missing", "folder", "dangling link"])
def test_unreadable_pictures_have_no_digest(tmp_path, paths, kind):
    path = tmp_path / "nothing.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "missing")
    keys = keys_of([paths[0], str(path)], tmp_path / "cache")
    assert keys.digests[0] is not None
    assert keys.digests[1] is None
    assert set(keys.identities) == {0}


def test_a_pipe_is_not_waited_for(tmp_path, paths):
    os.mkfifo(tmp_path / "pipe.png")
    assert digests([str(tmp_path / "pipe.png"), paths[0]])[0] is None


def test_a_file_whose_reading_fails_has_no_digest(tmp_path, paths, monkeypatch):
    def refuse(_file, _name):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(
        module, "hashlib", SimpleNamespace(**{**vars(hashlib), "file_digest": refuse})
    )
    assert digests(paths[:2], tmp_path / "cache") == [None, None]


def test_a_closed_picture_has_no_digest(paths, pictures):
    image = Image.open(paths[0])
    image.close()
    assert digests([image, pictures[0][0]])[0] is None


def test_files_without_a_picture_have_a_digest(tmp_path):
    # Reading the pictures finds out whether they can be decoded.
    (tmp_path / "text.png").write_text("no picture")
    assert digests([str(tmp_path / "text.png")]) == [hashlib.sha256(b"no picture").digest()]


# Files that change while they are read.


class Colours(nn.Module):
    def forward(self, x):
        return x.float().mean((2, 3))


def colours(X, folder, **options):
    network = FrozenNetwork([("colours", Colours())])
    one_pass = FrozenPass(
        network, PRESET, EngineChoice(), batch_size=2, n_jobs=1, cache=folder, **options
    )
    return one_pass.collect(as_images(X))[0].numpy()


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_before_it_is_decoded_is_not_stored(tmp_path, monkeypatch):
    paths = [saved(tmp_path / f"{i}.bmp", 10 * i) for i in range(4)]
    original = sources.decode_file

    def change_first(path):
        if path == paths[2]:
            saved(path, 200)
        return original(path)

    monkeypatch.setattr(sources, "decode_file", change_first)
    values = colours(paths, tmp_path / "cache")
    assert values[:, 0].round().tolist() == [0, 10, 200, 30]
    monkeypatch.undo()
    assert cache_info(tmp_path / "cache").rows == 3
    saved(paths[2], 20)  # the content that its digest is of
    assert colours(paths, tmp_path / "cache")[:, 0].round().tolist() == [0, 10, 20, 30]
    assert colours(paths, tmp_path / "cache")[:, 0].round().tolist() == [0, 10, 20, 30]


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.bmp", 10)
    original = hashlib.file_digest

    def change_later(file, name):
        digest = original(file, name)
        save_over(path, 20)
        return digest

    spied = SimpleNamespace(**{**vars(hashlib), "file_digest": change_later})
    with monkeypatch.context() as patch:
        patch.setattr(module, "hashlib", spied)
        keys = keys_of([path], tmp_path / "cache")
    assert not keys.is_unchanged(0)
    assert cache_info(tmp_path / "cache").files == 0
    assert digests([path], tmp_path / "cache") != keys.digests


@pytest.mark.usefixtures("settled")
def test_a_file_that_vanishes_is_not_remembered(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.bmp", 10)
    original = hashlib.file_digest

    def delete_later(file, name):
        os.unlink(path)
        return original(file, name)

    monkeypatch.setattr(
        module, "hashlib", SimpleNamespace(**{**vars(hashlib), "file_digest": delete_later})
    )
    keys = keys_of([path], tmp_path / "cache")
    assert not keys.is_unchanged(0)
    assert cache_info(tmp_path / "cache").files == 0


@pytest.mark.usefixtures("settled")
def test_files_that_change_all_the_time_never_give_wrong_activations(tmp_path):
    # Stored activations must be those of their picture, even if files change meanwhile.
    paths = [saved(tmp_path / f"{i}.bmp", 0) for i in range(4)]
    stop, chance = threading.Event(), np.random.default_rng(0)

    def replace():
        times = itertools.count(1)
        while not stop.is_set():
            for i, path in enumerate(paths):
                new = saved(tmp_path / f"new {i}.bmp", int(chance.integers(256)))
                # Some file systems reuse inodes within a tick of their clocks.
                os.utime(new, (next(times),) * 2)
                os.replace(new, path)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(30):
            colours(paths, tmp_path / "cache")
    finally:
        stop.set()
        thread.join()
    assert np.allclose(colours(paths, tmp_path / "cache"), colours(paths, None), rtol=1e-5)
    with contextlib.suppress(FileNotFoundError):
        for path in paths:
            os.unlink(path)
    everything = [saved(tmp_path / f"{value}.bmp", value) for value in range(256)]
    values = colours(everything, tmp_path / "cache")
    assert values[:, 0].round().tolist() == list(range(256))

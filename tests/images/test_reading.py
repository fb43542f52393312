import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from sktransfer.exceptions import ImageError, ImageWarning, UnreadableImageError
from sktransfer.images import reading
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import as_images
from tests.conftest import HANGS, make_pictures

# Preprocessing that leaves the 8 x 8 pictures below unchanged.
AS_IS = Preprocessing(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PICTURES, _ = make_pictures(23, size=8)


def read(X, batch_size=4, n_threads=2, **options):
    rows = range(len(X))
    batches = [rows[start : start + batch_size] for start in range(0, len(X), batch_size)]
    return read_batches(as_images(X), AS_IS, batches, n_threads=n_threads, **options)


def reader_threads():
    return [thread for thread in threading.enumerate() if "sktransfer-reader" in thread.name]


@pytest.fixture
def paths(tmp_path):
    files = [str(tmp_path / f"{i}.png") for i in range(len(PICTURES))]
    for pixels, file in zip(PICTURES, files, strict=True):
        Image.fromarray(pixels).save(file)
    return files


def damage(path):
    with open(path, "wb") as file:
        file.write(b"no picture")


class RecordedPath(os.PathLike):
    """A path that records when it is read, and may take some time to be read."""

    def __init__(self, path, row=0, read_rows=None, seconds=0.0):
        self.path, self.row, self.seconds = path, row, seconds
        self.read_rows = [] if read_rows is None else read_rows

    def __fspath__(self):
        self.read_rows.append(self.row)
        time.sleep(self.seconds)
        return self.path


def slow(path):
    return RecordedPath(path, seconds=0.05)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 23, 100])
@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_all_rows_once_and_in_order(batch_size, n_threads):
    batches = list(read(PICTURES, batch_size, n_threads))
    rows = [row for batch in batches for row in batch.rows]
    assert rows == list(range(len(PICTURES)))
    assert {len(batch.pixels) for batch in batches[:-1]} <= {batch_size}
    for batch in batches:
        assert batch.pixels.dtype == np.uint8
        np.testing.assert_array_equal(batch.pixels, PICTURES[batch.rows])
        assert batch.unreadable == []


def test_batches_of_any_rows(paths):
    damage(paths[7])
    asked = [[3], [22, 7, 0, 7], [5, 4]]
    batches = read_batches(as_images(paths), AS_IS, asked, n_threads=2, skip_unreadable=True)
    expected = PICTURES.copy()
    expected[7] = 0
    for batch, rows in zip(batches, asked, strict=True):
        assert batch.rows == rows
        np.testing.assert_array_equal(batch.pixels, expected[rows])
        assert batch.unreadable == [row for row in rows if row == 7]


def test_no_batch_no_pixels(paths):
    assert list(read_batches(as_images(paths), AS_IS, [], n_threads=2)) == []
    assert reader_threads() == []


def test_batches_are_asked_for_when_they_are_about_to_be_read():
    asked = []

    def rows():
        for row in range(10):
            asked.append(row)
            yield [row]

    batches = read_batches(as_images(PICTURES), AS_IS, rows(), n_threads=2)
    assert asked == []
    next(batches)
    assert asked == [0, 1, 2, 3]  # one in use, three ahead
    next(batches)
    assert asked == [0, 1, 2, 3, 4]
    batches.close()


def test_slow_first_picture_does_not_change_the_order(paths):
    batches = list(read([slow(paths[0]), *paths[1:]], batch_size=5, n_threads=4))
    np.testing.assert_array_equal(np.concatenate([b.pixels for b in batches]), PICTURES)


@pytest.mark.parametrize("broken", [[3, 6], [3, 9], [3, 20], [3, 5, 6, 7, 8]])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_first_error_in_order_is_raised(paths, broken, n_threads):
    for row in broken:
        damage(paths[row])
    X = [*paths[:3], slow(paths[3]), *paths[4:]]  # the later rows fail before row 3 does
    with pytest.raises(UnreadableImageError, match=r"^row 3 of X "):
        list(read(X, n_threads=n_threads))
    assert reader_threads() == []


def test_batches_before_the_error_are_given(paths):
    damage(paths[9])
    batches = read(paths)
    for start in (0, 4):
        np.testing.assert_array_equal(next(batches).pixels, PICTURES[start : start + 4])
    with pytest.raises(UnreadableImageError, match=r"^row 9 of X "):
        next(batches)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_unreadable_rows_are_reported_and_left_black(paths, batch_size):
    broken = [0, 5, 6, 22]
    for row in broken[:-1]:
        damage(paths[row])
    os.remove(paths[22])
    batches = list(read(paths, batch_size, skip_unreadable=True))
    assert [row for batch in batches for row in batch.unreadable] == broken
    expected = PICTURES.copy()
    expected[broken] = 0
    np.testing.assert_array_equal(np.concatenate([b.pixels for b in batches]), expected)


def test_every_picture_unreadable_gives_all_rows(tmp_path):
    (batch,) = read([tmp_path / "a.png", tmp_path / "b.png"], skip_unreadable=True)
    assert batch.unreadable == [0, 1]
    assert not batch.pixels.any()


def test_mistakes_are_not_skipped(paths, tmp_path):
    with pytest.raises(ImageError, match=r"^row 1 of X .*folder"):
        list(read([paths[0], str(tmp_path)], skip_unreadable=True))


@pytest.mark.parametrize("leave", ["close", "forget", "raise"])
def test_consumer_that_stops_early_leaves_no_thread(leave):
    batches = read(PICTURES, batch_size=1, n_threads=3)
    next(batches)
    assert reader_threads()
    if leave == "close":
        batches.close()
    elif leave == "raise":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    del batches
    assert reader_threads() == []


def test_pictures_are_read_ahead_but_not_all(paths):
    read_rows = []
    batches = read([RecordedPath(path, row, read_rows) for row, path in enumerate(paths)])
    next(batches)
    batches.close()
    assert max(read_rows) < 4 * 4  # one batch in use, at most three ahead


def test_stopping_early_does_not_wait_for_pictures_ahead(paths, monkeypatch):
    read_rows, cancelled = [], threading.Event()

    # Without waiting first: the picture in the thread is stuck until the others are cancelled.
    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    class Stuck(RecordedPath):
        def __fspath__(self):
            path = super().__fspath__()
            cancelled.wait(HANGS)
            return path

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Pool)
    X = [Stuck(path, row, read_rows) for row, path in enumerate(paths)]
    batches = read([*paths[:7], *X[7:]], batch_size=7, n_threads=1)
    next(batches)
    batches.close()
    assert len(read_rows) <= 1  # of the 16 rows ahead, only the one that was being read


def test_no_thread_starts_before_the_first_batch_is_asked_for():
    batches = read(PICTURES)
    assert reader_threads() == []
    batches.close()


def test_inputs_are_not_written_to():
    pictures = PICTURES.copy()
    images = [Image.fromarray(pixels) for pixels in pictures]
    before = [image.tobytes() for image in images]
    for X in (pictures, images):
        for batch in read(X):
            batch.pixels[:] = 7  # the caller may write to a batch
    np.testing.assert_array_equal(pictures, PICTURES)
    assert [image.tobytes() for image in images] == before


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_one_open_image_in_many_rows(tmp_path, format_name):
    path = tmp_path / "picture"
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated, so that the image is copied after it is decoded
    options = {} if format_name == "GIF" else {"exif": exif}
    Image.fromarray(noise).save(path, format_name, **options)
    (expected,) = read([path])
    for _ in range(3):  # decoding an image in two threads at once does not fail every time
        with Image.open(path) as image:
            (batch,) = read([image] * 6, batch_size=6, n_threads=4)
        for pixels in batch.pixels:
            np.testing.assert_array_equal(pixels, expected.pixels[0])


def test_warning_about_animation_reaches_the_caller_once(tmp_path):
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 255)]
    paths = [tmp_path / f"{i}.gif" for i in range(5)]
    for path in paths:
        frames[0].save(path, save_all=True, append_images=frames[1:])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        list(read(paths))
    assert [warning.category for warning in caught] == [ImageWarning]

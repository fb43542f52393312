import contextlib
import os
import signal
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image

from sktransfer.exceptions import ImageError, UnreadableImageError
from sktransfer.images import sources
from sktransfer.images.sources import ImageSource, as_images, holds_images
from tests.conftest import make_pictures

PICTURES, _ = make_pictures(4, size=12)
GREY = PICTURES[..., 0]
SCENERY = make_pictures(1, size=20)[0][0, :12]  # wider than high


@pytest.fixture
def paths(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(len(PICTURES))]
    for pixels, file in zip(PICTURES, files, strict=True):
        Image.fromarray(pixels).save(file)
    return [str(file) for file in files]


def read_all(X, image_shape=None):
    source = as_images(X, image_shape)
    source.check()
    return [np.asarray(source.read(row)) for row in range(len(source))]


def assert_reads(X, expected=PICTURES, image_shape=None):
    for got, pixels in zip(read_all(X, image_shape), expected, strict=True):
        np.testing.assert_array_equal(got, pixels)


def object_array(items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def as_tensors(pixels):
    return torch.from_numpy(np.moveaxis(pixels, -1, 1).copy())


PATH_CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "Path": lambda paths: [Path(path) for path in paths],
    "str array": np.array,
    "str column": lambda paths: np.array(paths)[:, None],
    "object array": lambda paths: np.array(paths, dtype=object),
    "Path array": lambda paths: object_array([Path(path) for path in paths]),
    # numpy has them since version 2.0.
    "variable-width array": lambda paths: np.array(
        paths, dtype=np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else object
    ),
    "pandas Series": pd.Series,
    "pandas Series of object": lambda paths: pd.Series(paths, dtype=object),
    "pandas Series of string": lambda paths: pd.Series(paths, dtype="string"),
    "pandas Series of category": lambda paths: pd.Series(paths, dtype="category"),
    "pandas Series of Path": lambda paths: pd.Series([Path(path) for path in paths]),
    "pandas Series, other index": lambda paths: pd.Series(paths, index=[9, 9, 7, 3]),
    "pandas DataFrame": lambda paths: pd.DataFrame({"path": paths}),
    "polars Series": lambda paths: pl.Series(paths),
    "polars DataFrame": lambda paths: pl.DataFrame({"path": paths}),
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda paths: pa.chunked_array([paths[:1], paths[1:]]),
    "pyarrow table": lambda paths: pa.table({"path": paths}),
}


@pytest.mark.parametrize("container", PATH_CONTAINERS.values(), ids=PATH_CONTAINERS)
def test_containers_of_paths(container, paths):
    X = container(paths)
    assert holds_images(X)
    assert_reads(X)


@pytest.mark.parametrize(
    "container", [list, tuple, object_array, lambda items: pd.Series(object_array(items))]
)
@pytest.mark.parametrize(
    "item",
    [
        Image.fromarray,
        np.asarray,
        lambda pixels: pixels / 255,
        lambda pixels: torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
    ],
    ids=["PIL", "array", "float array", "tensor"],
)
def test_containers_of_pictures(container, item):
    X = container([item(pixels) for pixels in PICTURES])
    assert holds_images(X)
    assert_reads(X)


@pytest.mark.parametrize("container", [list, object_array])
def test_mixed_kinds_and_sizes(container, paths):
    items = [paths[0], Path(paths[1]), Image.fromarray(SCENERY), GREY[2], as_tensors(PICTURES)[3]]
    expected = [*PICTURES[:2], SCENERY, np.repeat(GREY[2][..., None], 3, axis=2), PICTURES[3]]
    assert_reads(container(items), expected)


@pytest.mark.parametrize(
    "X", [PICTURES, PICTURES.astype(np.int64), PICTURES / 255, np.asfortranarray(PICTURES)]
)
def test_colour_arrays(X):
    assert holds_images(X)
    assert_reads(X)


@pytest.mark.parametrize("X", [GREY, GREY[..., None], GREY / 255])
def test_grey_arrays(X):
    assert holds_images(X)
    assert_reads(X, np.repeat(GREY[..., None], 3, axis=3))


def test_array_with_transparency():
    alpha = np.zeros_like(GREY)
    alpha[:2] = 255
    expected = [*PICTURES[:2], *np.full_like(PICTURES[2:], 255)]
    assert_reads(np.concatenate([PICTURES, alpha[..., None]], axis=3), expected)


@pytest.mark.parametrize("scale", [1, 255])
def test_colour_and_grey_tensors(scale):
    X = as_tensors(PICTURES) if scale == 1 else as_tensors(PICTURES) / scale
    assert holds_images(X)
    assert_reads(X)
    assert_reads(X[:, :1], np.repeat(GREY[..., None], 3, axis=3))


def test_one_picture_in_any_form_gives_identical_pixels(paths):
    pixels = PICTURES[0]
    items = [
        paths[0],
        Path(paths[0]),
        Image.fromarray(pixels),
        pixels,
        pixels.astype(np.uint16) * 257,
        pixels.astype(np.float32) / 255,
        as_tensors(PICTURES)[0],
        as_tensors(PICTURES)[0] / 255,
    ]
    assert_reads(items, [pixels] * len(items))


def test_declared_shape_settles_grey_rows_and_narrow_pictures():
    assert len(as_images(PICTURES[0], (12, 3))) == 12
    narrow = PICTURES[:, :3]
    with pytest.raises(ImageError, match=r"row 0 of X.*image_shape"):
        read_all(narrow)
    assert_reads(narrow, narrow, (3, 12, 3))


def test_three_planes_are_one_picture_or_three_and_the_user_says_which():
    X = PICTURES[0].transpose(2, 0, 1)
    with pytest.raises(
        ImageError, match=r"one channels-first colour picture or as 3 grey.*transpose.*image_shape"
    ):
        as_images(X)
    assert_reads(X.transpose(1, 2, 0)[None], PICTURES[:1])
    grey = np.repeat(X[..., None], 3, axis=3)
    assert_reads(X[..., None], grey)
    assert_reads(X, grey, (12, 12))


def test_source_keeps_the_items_as_given(paths):
    X = [*paths, PICTURES[0]]
    before = list(X)
    read_all(X)
    assert all(now is then for now, then in zip(X, before, strict=True))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a.png", r"not one path. Use \['a.png'\]"),
        (Path("a.png"), "not one path"),
        (b"a.png", "not one path"),
        (Image.new("RGB", (9, 9)), r"not one PIL image. Use \[image\]"),
        ([], "X is empty"),
        ((), "X is empty"),
        (PICTURES[:0], "X is empty"),
        (torch.zeros(0, 3, 9, 9), "X is empty"),
        (np.array([], dtype=object), "X is empty"),
        (pd.Series([], dtype=object), "X is empty"),
        (pl.Series([], dtype=pl.String), "X is empty"),
        (pd.DataFrame({"path": []}, dtype=object), "X is empty"),
        (np.zeros((9, 64)), r"2-D, of shape \(9, 64\).*image_shape.*X\[None\]"),
        (pd.DataFrame(np.zeros((9, 64))), "2-D"),
        (pl.DataFrame(np.zeros((9, 4))), "2-D"),
        (np.zeros(9), "1-D array of numbers"),
        (np.array(3.0), "0-D array of numbers"),
        (pd.Series([1.0, 2.0]), "1-D array of numbers"),
        (pd.DataFrame({"path": ["a"], "label": ["b"]}), r"one column.*\(1, 2\)"),
        (pl.DataFrame({"path": ["a"], "label": ["b"]}), r"one column.*\(1, 2\)"),
        (np.array([["a", "b"]]), "one column"),
        (np.array("a.png"), "one column"),
        (PICTURES[0], r"one colour picture.*X\[None\]"),
        (PICTURES[0][..., :1], "one colour picture"),
        (as_tensors(PICTURES)[0], r"shape \(n, 3, h, w\).*got \(3, 12, 12\)"),
        (torch.zeros(9, 9), r"got \(9, 9\)"),
        (None, "got NoneType"),
        (7, "got int"),
        ({"a.png"}, "got set"),
        ((path for path in ["a.png"]), "got generator"),
        ({"path": ["a.png"]}, "got dict"),
    ],
)
def test_containers_that_hold_no_pictures_raise(X, message):
    with pytest.raises(ImageError, match=message):
        as_images(X)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("https://example.org/a.png", "not a URL"),
        ("FILE:///a.png", "not a URL"),
        ("s3://bucket/a.png", "not a URL"),
        ("", "empty string"),
        (b"a.png", "got bytes"),
        (None, "a missing value"),
        (float("nan"), "a missing value"),
        (np.float64("nan"), "a missing value"),
        (pd.NA, "NAType"),
        (3.5, "got float: 3.5"),
        (7, "got int: 7"),
        ([[1, 2], [3, 4]], "got list"),
        (torch.zeros(9, 9, 3), r"A torch tensor .*permute\(2, 0, 1\)"),
        (np.zeros((3, 9, 9)), "channels-first"),
        (np.zeros((2, 9, 9, 3)), "A picture is an array of shape"),
        (np.full((9, 9), np.nan), "finite"),
        (np.full((9, 9), 255.0), r"0\.\.1"),
        (np.full((9, 9), 300), r"0\.\.255"),
    ],
)
def test_items_that_are_no_pictures_raise_and_name_the_row(item, message):
    source = as_images([PICTURES[0], item])
    for look in (source.check, lambda: source.check(missing_ok=True), lambda: source.read(1)):
        with pytest.raises(ImageError, match=message) as caught:
            look()
        assert str(caught.value).startswith("row 1 of X")
        assert not isinstance(caught.value, UnreadableImageError)


@pytest.mark.parametrize("container", [list, object_array, pd.Series, pl.Series])
def test_missing_value_among_paths_names_its_row(container, paths):
    source = as_images(container([*paths[:2], None, paths[3]]))
    with pytest.raises(ImageError, match=r"^row 2 of X: .*a missing value"):
        source.check()
    with pytest.raises(ImageError, match=r"^row 2 of X: .*a missing value"):
        source.read(2)


def test_channels_last_tensor_batch_raises():
    with pytest.raises(ImageError, match="row 0 of X: A torch tensor must hold"):
        read_all(torch.zeros(4, 12, 12, 3))


def test_channels_first_array_batch_raises():
    with pytest.raises(ImageError, match=r"row 0 of X: .*channels-first"):
        read_all(np.zeros((4, 3, 12, 12)))


@pytest.mark.parametrize("item", [b"\xff\xd8" * 10_000, [[[0] * 300] * 300] * 3])
def test_errors_do_not_repeat_whole_pictures(item):
    with pytest.raises(ImageError) as caught:
        as_images([item]).check()
    assert len(str(caught.value)) < 2000


def test_errors_of_files_name_row_and_path(paths):
    Path(paths[2]).write_bytes(b"no picture")
    source = as_images(paths)
    source.check()  # files are not decoded, so the damage is not found
    with pytest.raises(UnreadableImageError) as caught:
        source.read(2)
    assert str(caught.value).startswith(f"row 2 of X ({paths[2]!r}): ")


@pytest.mark.parametrize("kind", [str, Path])
def test_check_finds_a_missing_file_in_the_last_row(paths, kind):
    Path(paths[-1]).unlink()
    source = as_images([kind(path) for path in paths])
    with pytest.raises(UnreadableImageError, match=r"^row 3 of X \(.*3\.png'\): There is no such"):
        source.check()
    source.check(missing_ok=True)  # does not raise


def test_check_finds_a_dangling_link(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UnreadableImageError, match="no such file"):
        as_images([tmp_path / "link.png"]).check()


@pytest.mark.parametrize("missing_ok", [False, True])
def test_check_finds_a_folder(paths, tmp_path, missing_ok):
    with pytest.raises(ImageError, match=r"row 4 of X .*folder") as caught:
        as_images([*paths, str(tmp_path)]).check(missing_ok=missing_ok)
    assert not isinstance(caught.value, UnreadableImageError)


def test_check_finds_nan_in_the_last_array():
    X = PICTURES / 255
    X[-1, 3, 4, 1] = np.nan
    with pytest.raises(ImageError, match=r"^row 3 of X: .*finite"):
        as_images(X).check()


def test_check_opens_no_file(tmp_path):
    broken = tmp_path / "a.png"
    broken.touch()
    as_images([broken]).check()
    with pytest.raises(UnreadableImageError, match="row 0 of X"):
        as_images([broken]).read(0)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("loaded", [False, True])
def test_closed_pil_image_is_a_mistake_and_not_unreadable(tmp_path, format_name, loaded):
    path = tmp_path / "picture"
    Image.fromarray(PICTURES[0]).save(path, format_name)
    with Image.open(path) as image:
        if loaded:
            image.load()
    image.close()
    with pytest.raises(ImageError, match=r"row 0 of X: .*closed") as caught:
        as_images([image]).read(0)
    # on_error="nan" skips unreadable pictures, but must not hide such a mistake.
    assert not isinstance(caught.value, UnreadableImageError)


@pytest.mark.parametrize("damage", [b"\xff\xff\xff\xff", b"q\xdd\xfa\x15"])
def test_damaged_pil_image_is_unreadable(tmp_path, damage):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    contents = bytearray(path.read_bytes())
    second = contents.index(b"IDAT", contents.index(b"IDAT") + 4)
    contents[second : second + 4] = damage  # Pillow raises SyntaxError on such a chunk
    path.write_bytes(contents)
    with (
        Image.open(path) as image,
        pytest.raises(UnreadableImageError, match="row 0 of X: The PIL image can't be read"),
    ):
        as_images([image]).read(0)


def test_pixel_limit_holds_for_pil_images(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="12 x 12 pixels, more than the limit of 100"):
        as_images([Image.fromarray(PICTURES[0])]).read(0)


def test_users_pil_images_and_arrays_are_unchanged():
    image = Image.fromarray(PICTURES[0]).convert("LA")
    before = image.mode, image.tobytes()
    tensor = as_tensors(PICTURES)[0]
    read_all([image, PICTURES[1], tensor])
    assert (image.mode, image.tobytes()) == before
    assert torch.equal(tensor, as_tensors(PICTURES)[0])


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        ("a.png", True),  # a single path; as_images raises a helpful error for it
        (Path("a.png"), True),
        (Image.new("RGB", (3, 3)), True),
        ([b"a.png"], True),
        ([GREY[0]], True),
        ([torch.zeros(3, 4, 4)], True),
        (np.zeros((4, 64)), False),
        (torch.zeros(4, 64), False),
        (np.zeros(4), False),
        ([[0.0, 1.0]], False),
        ([np.zeros(64)], False),
        (pd.DataFrame(np.zeros((4, 64))), False),
        (pl.DataFrame(np.zeros((4, 2))), False),
        ([], False),
        (np.array([], dtype=object), False),
        (None, False),
        ([None], False),
    ],
)
def test_holds_images(X, expected):
    assert holds_images(X) is expected


def test_errors_about_a_part_of_the_pictures_name_their_rows_of_X(paths):
    source = as_images([*paths[:2], "missing.png"]).taken([0, 2])
    assert len(source) == 2
    assert source.describe(1) == "row 2 of X ('missing.png')"
    with pytest.raises(UnreadableImageError, match="row 2 of X"):
        source.read(1)


@pytest.mark.parametrize(
    ("shapes", "square"), [([(8, 8), (5, 5)], True), ([(8, 8), (8, 9)], False), ([(9, 8)], False)]
)
def test_all_square(tmp_path, shapes, square):
    arrays = [np.zeros((*shape, 3), np.uint8) for shape in shapes]
    images = [Image.fromarray(array) for array in arrays]
    tensors = [torch.zeros(3, *shape) for shape in shapes]
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    files = sorted(str(path) for path in tmp_path.iterdir())
    for X in (arrays, images, tensors, files):
        assert as_images(X).all_square() is square


def test_describe_names_paths_only():
    source = ImageSource(["a.png", Path("b") / "c.png", GREY[0]])
    assert source.describe(0) == "row 0 of X ('a.png')"
    assert source.describe(1) == f"row 1 of X ({str(Path('b') / 'c.png')!r})"
    assert source.describe(2) == "row 2 of X"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # Python 3.12 warns if there are threads
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP"])
def test_the_child_of_a_fork_reads_an_image_that_a_thread_was_decoding(tmp_path, format_name):
    path = tmp_path / "picture"
    two = {"save_all": True, "append_images": [Image.fromarray(PICTURES[1])]}
    Image.fromarray(PICTURES[0]).save(path, format_name, **(two if format_name == "MPO" else {}))
    with Image.open(path) as image:
        assert image.format == format_name
        expected = np.asarray(image.convert("RGB"))
    held, done = Event(), Event()

    # A thread that is decoding holds one of the locks. Which one depends on the image's id, so
    # this one holds all.
    def decode():
        with contextlib.ExitStack() as locks:
            for lock in sources._LOCKS:
                locks.enter_context(lock)
            held.set()
            done.wait(300)

    thread = Thread(target=decode)
    thread.start()
    held.wait(300)
    with Image.open(path) as image:
        image.fp.seek(7)  # the position that the thread has reached
        at = os.lseek(image.fp.fileno(), 0, os.SEEK_CUR)
        child = os.fork()
        if child == 0:
            signal.alarm(300)  # ends a child that hangs
            try:
                (pixels,) = read_all([image])
                os._exit(0 if np.array_equal(pixels, expected) else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert image.fp.tell() == 7
        assert os.lseek(image.fp.fileno(), 0, os.SEEK_CUR) == at
    done.set()
    thread.join()
    assert status == 0


def test_pictures_that_are_taken_twice_are_named_by_their_rows_of_x():
    source = as_images(["a.png", "b.png", "c.png", "d.png"]).taken([1, 3]).taken([1])
    assert source.describe(0) == "row 3 of X ('d.png')"

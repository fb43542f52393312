"""Faults 1 to 16 and 36 to 42: X, labels and pixels. Numbers are those of docs/reliability.md."""

import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sktransfer import cache_info
from sktransfer.exceptions import ImageError, UnreadableImageError
from tests.conftest import save_pictures
from tests.faults.helpers import (
    LABELS,
    PICTURES,
    check_as_clean,
    check_refused,
    classifier,
    columns,
    containers,
    extractor,
    fitted,
    with_one,
)
from tests.pretended_devices import having

SHARES = (PICTURES / 255).astype(np.float32)
GREY = PICTURES[..., 1]
COLOUR = np.full((1, 32, 32, 3), (200, 10, 90), np.uint8)


@pytest.mark.parametrize(
    "X",
    [
        [],
        np.empty((0, 32, 32, 3), np.uint8),
        torch.empty(0, 3, 32, 32),
        np.array([], dtype="U3"),
        pd.Series([], dtype=object),
        pd.DataFrame({"path": []}),
        pd.DataFrame({"path": pd.Series([], dtype=float)}),
    ],
    ids=["list", "array", "tensor", "strings", "Series", "DataFrame", "DataFrame of floats"],
)
def test_fault_01_empty_X(X):
    check_refused(X, "X is empty: at least one picture")


def test_fault_02_one_row():
    with pytest.raises(ValueError, match="y holds one class only"):
        classifier().fit(PICTURES[:1], LABELS[:1])
    assert extractor().fit_transform(PICTURES[:1]).shape == (1, 512)  # nothing is learned


@pytest.mark.parametrize("y", [np.zeros(8), ["ant"] * 8, [True] * 8])
def test_fault_03_a_single_class(y):
    with pytest.raises(ValueError, match=r"y holds one class only, .*: a classifier needs"):
        classifier().fit(PICTURES, y)


@pytest.mark.parametrize("n", [0, 7, 9])
def test_fault_04_X_and_y_of_different_lengths(n):
    for X in (PICTURES, list(PICTURES), torch.from_numpy(PICTURES.copy()).permute(0, 3, 1, 2)):
        with pytest.raises(ValueError, match=rf"inconsistent numbers of samples: \[8, {n}\]"):
            classifier().fit(X, np.arange(n) % 2)


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, np.nan, 1, 0, 1, 0, 1]),
        ["a", "b", None, "b", "a", "b", "a", "b"],
        pd.Series(["a", "b", None, "b"] * 2, dtype="string"),
        pd.Series(["a", "b", None, "b"] * 2, dtype="category"),
        pd.Series([0, 1, None, 1] * 2, dtype="Int64"),
        torch.tensor([0, 1, torch.nan, 1, 0, 1, 0, 1]),
    ],
    ids=["floats", "None", "string", "category", "Int64", "tensor"],
)
def test_fault_05_a_missing_label(y):
    with pytest.raises(ValueError, match="Input y contains NaN"):
        classifier().fit(PICTURES, y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_fault_06_pixels_that_are_not_finite(value):
    damaged = SHARES.copy()
    damaged[5, 3, 4, 1] = value
    for X in containers(damaged).values():
        check_refused(X, "row 5 of X: Float pixels must be finite")
    check_refused(damaged[..., 1], "row 5 of X: Float pixels must be finite")
    with pytest.raises(ValueError, match="NaN" if np.isnan(value) else "infinity"):
        extractor(image_shape=(32, 32, 3)).fit(damaged.reshape(8, -1))


def test_fault_06_pixels_that_are_masked():
    masked = np.ma.masked_array(PICTURES, PICTURES > 254)
    check_refused(masked, "row 0 of X: .* values of a masked array")
    check_refused(list(masked), "row 0 of X: .* values of a masked array")
    with pytest.raises(ImageError, match="masked array"):
        extractor(image_shape=(32, 32, 3)).fit(masked.reshape(8, -1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fault_07_floats_from_0_to_1(dtype):
    check_as_clean(*containers(SHARES.astype(dtype)).values())


def test_fault_08_floats_from_0_to_255():
    for X in containers(PICTURES.astype(np.float32)).values():
        check_refused(X, r"row 0 of X: Float pixels must lie in 0\.\.1; got .*Divide by")
    images = [Image.fromarray(grey.astype(np.float32)) for grey in GREY]
    check_refused(images, r"row 0 of X: Float pixels must lie in 0\.\.1")


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint32])
def test_fault_09_integers_of_other_types(dtype):
    check_as_clean(*containers(PICTURES.astype(dtype)).values())


@pytest.mark.parametrize("value", [-1, 256, 2**40])
def test_fault_09_integers_out_of_range(value):
    damaged = PICTURES.astype(np.int64)
    damaged[5, 3, 4, 1] = value
    for X in containers(damaged).values():
        check_refused(X, r"row 5 of X: Integer pixels must lie in 0\.\.255; got")


@pytest.mark.parametrize("width", [2, 3, 9, 32])
def test_fault_10_channels_first_or_last(width):
    X = np.random.default_rng(0).integers(0, 256, (8, 3, width, 3), dtype=np.uint8)
    for ambiguous in containers(X).values():
        check_refused(ambiguous, r"row 0 of X: .* channels-first or channels-last.*image_shape=")
    declared = extractor(image_shape=(3, width, 3))
    assert_array_equal(
        declared.fit_transform(X), declared.fit_transform([Image.fromarray(x) for x in X])
    )
    check_refused(X[0], "looks like one colour picture|can be read as one channels-first")


def test_fault_11_grey_pictures():
    check_as_clean(
        GREY,
        list(GREY),
        GREY[..., None],
        torch.from_numpy(GREY.copy())[:, None],
        [Image.fromarray(grey) for grey in GREY],
        pd.Series(list(GREY)),
        clean=np.stack([GREY] * 3, axis=-1),
    )


@pytest.mark.parametrize("channels", [2, 5])
def test_fault_12_other_numbers_of_channels(channels):
    X = np.zeros((8, 32, 32, channels), np.uint8)
    for name, pictures in containers(X).items():
        message = "torch tensor must hold one picture" if "tensor" in name else "1, 3 or 4 channels"
        check_refused(pictures, f"row 0 of X: .*{message}")
    # Better than an error alone: it names the parameter by which such pictures can be used.
    with pytest.raises(ImageError, match=f"in_channels={channels}"):
        extractor().fit(X)


def test_fault_13_mixed_sizes():
    sizes = [(32, 32), (9, 50), (50, 9), (64, 64), (33, 31), (7, 8), (40, 32), (32, 40)]
    images = [Image.fromarray(x).resize(size) for x, size in zip(PICTURES, sizes, strict=True)]
    arrays = [np.array(image) for image in images]
    tensors = [torch.from_numpy(x).permute(2, 0, 1) for x in arrays]
    check_as_clean(arrays, pd.Series(arrays), tensors, clean=images)
    alone = np.vstack([fitted()[0].transform([image]) for image in images])
    assert_allclose(fitted()[0].transform(images), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 5), (0, 0)])
def test_fault_14_a_picture_without_pixels(shape):
    empty = np.zeros(shape, np.uint8)
    check_refused(with_one(empty), "row 5 of X: A picture without pixels")
    check_refused(with_one(Image.new("RGB", shape[:2])), "row 5 of X: A picture without pixels")
    check_refused([torch.zeros(3, *shape[:2])] * 8, "row 0 of X: A picture without pixels")


def test_fault_15_a_single_pixel(tmp_path):
    pixel = COLOUR[0, :1, :1]
    Image.fromarray(pixel).save(tmp_path / "pixel.png")
    tensor = torch.from_numpy(pixel.copy()).permute(2, 0, 1)
    forms = (pixel, Image.fromarray(pixel), tensor, tmp_path / "pixel.png")
    check_as_clean(*([form] * 2 for form in forms), clean=[*COLOUR] * 2)


def test_fault_16_a_picture_of_20000_by_1(tmp_path, monkeypatch):
    tall = np.broadcast_to(COLOUR[0, 0, 0], (20_000, 1, 3))
    Image.fromarray(tall.copy()).save(tmp_path / "tall.png")
    sizes, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *a, **k: sizes.append((r := resize(*a, **k)).size) or r
    )
    forms = (tall, Image.fromarray(tall.copy()), tmp_path / "tall.png")
    check_as_clean(*([form] * 2 for form in forms), clean=[*COLOUR] * 2)
    # In the ratio of its sides it would be 32 x 640,000 pixels.
    assert max(width * height for width, height in sizes) < 10_000


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_fault_36_a_missing_path(tmp_path, missing):
    paths = save_pictures(PICTURES, tmp_path)
    for X in columns([*paths[:5], missing, *paths[6:]]).values():
        check_refused(X, "row 5 of X: A picture is a path, .*; got")
    for X in (pd.Series([np.nan] * 8), pd.DataFrame({"path": [np.nan] * 8})):
        check_refused(X, "row 0 of X: .*a missing value")


@pytest.mark.parametrize(
    "item",
    [
        "https://example.com/a.png",
        "S3://bucket/a.png",
        "file:///tmp/a.png",
        "data:image/png;base64,iVBORw0KGgo=",
        b"a.png",
        b"\x89PNG\r\n\x1a\n",
        "",
    ],
)
def test_fault_37_bytes_and_addresses(tmp_path, monkeypatch, item):
    monkeypatch.setattr(socket, "socket", None)  # to connect would raise a TypeError
    paths = save_pictures(PICTURES, tmp_path)
    X = [*paths[:5], item, *paths[6:]]
    for column in columns(X).values():
        check_refused(column, "row 5 of X.* (not a URL|got bytes|An empty string)")
    with pytest.raises(ImageError):  # also where damaged pictures become NaN
        extractor(on_error="nan").fit_transform(X)
    if isinstance(item, bytes):
        check_refused(np.array([b"a.png"] * 8), "row 0 of X: .*got bytes")


def test_fault_37_the_text_of_a_file_is_not_printed():
    with pytest.raises(UnreadableImageError) as caught:
        fitted()[0].transform(["iVBORw0KGgo" * 10_000])
    assert len(str(caught.value)) < 2000


def test_fault_38_images_and_paths_together(tmp_path):
    paths = save_pictures(PICTURES, tmp_path)
    images = [Image.fromarray(x) for x in PICTURES]
    tensors = torch.from_numpy(PICTURES.copy()).permute(0, 3, 1, 2)
    X = [*paths[:2], Path(paths[2]), images[3], PICTURES[4], tensors[5], SHARES[6], images[7]]
    check_as_clean(*columns(X).values())


@pytest.mark.parametrize("how", ["left its block", "closed", "loaded and closed", "closed file"])
def test_fault_39_a_closed_image(tmp_path, how):
    path = save_pictures(PICTURES[:1], tmp_path)[0]
    with open(path, "rb") as file, Image.open(file if how == "closed file" else path) as image:
        if how == "loaded and closed":
            image.load()
    if "closed" in how and how != "closed file":
        image.close()
    check_refused(with_one(image), "row 5 of X: .* was closed before it was read")
    with pytest.raises(ImageError):  # a mistake and no damage, so it does not become NaN
        extractor(on_error="nan").fit_transform([image])


@pytest.mark.parametrize("as_files", [False, True], ids=["arrays", "files"])
def test_fault_40_the_same_picture_in_several_rows(tmp_path, as_files):
    X = save_pictures(PICTURES, tmp_path) if as_files else list(PICTURES)
    cached = extractor(cache=tmp_path / "cache")
    found = cached.fit_transform([X[0], X[1], X[0], X[0]])
    assert_allclose(found, fitted()[0].transform(PICTURES[[0, 1, 0, 0]]), rtol=1e-5, atol=1e-5)
    assert cache_info(tmp_path / "cache").rows == 2


@pytest.mark.parametrize("scale", [1, 255])
def test_fault_41_arrays_in_other_layouts_of_memory(scale):
    X = PICTURES if scale == 1 else SHARES
    read_only = X.copy()
    read_only.flags.writeable = False
    backward = torch.from_numpy(np.ascontiguousarray(X[:, ::-1])).permute(0, 3, 1, 2).flip(2)
    check_as_clean(
        read_only,
        np.asfortranarray(X),
        X[::-1].copy()[::-1],
        X[..., ::-1].copy()[..., ::-1],
        backward,
    )
    part = X[:, ::-1, ::2]
    check_as_clean(part, clean=part.copy())


def test_fault_42_tensors_on_a_gpu(monkeypatch):
    with having(monkeypatch, "cuda:0"):
        tensor = torch.from_numpy(PICTURES.copy()).permute(0, 3, 1, 2).to("cuda:0")
        check_as_clean(tensor, list(tensor))
    assert fitted()[0].device_ == "cpu"

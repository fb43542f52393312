"""Faults 17 to 35: files of pictures and folders. Numbers are those of docs/reliability.md."""

import builtins
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import EpsImagePlugin, Image

from sktransfer import load_image_folder
from sktransfer.exceptions import ImageError, ImageWarning, UnreadableImageError
from tests.conftest import save_pictures
from tests.faults.helpers import (
    PICTURES,
    check_as_clean,
    check_refused,
    clean_features,
    columns,
    extractor,
    fitted,
    told,
    with_one,
)
from tests.images.test_decoding import png_header

BLOCKS = np.kron(PICTURES[:, ::8, ::8], np.ones((1, 16, 16, 1), np.uint8))  # survives JPEG
IMAGES = [Image.fromarray(pixels) for pixels in PICTURES]
TRANSPOSE = Image.Transpose


def saved(folder, images, name, **options):
    """Save images as 0NAME, 1NAME and so on, and return their paths."""
    paths = [str(folder / f"{row}{name}") for row in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path, **options)
    return paths


def opened(paths):
    """Images whose files are open, and not decoded."""
    return [Image.open(path) for path in paths]


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


def check_policy(path, match):
    """Assert that a file is an error that names row and path, or NaN if `on_error` says so."""
    X = with_one(str(path))
    for column in columns(X).values():
        check_refused(column, rf"row 5 of X \('.*{Path(path).name}'\): .*{match}", ImageError)
    with pytest.raises(UnreadableImageError):
        fitted()[0].transform(X)
    with told(ImageWarning) as messages:
        features = extractor(on_error="nan").fit_transform(X)
    assert np.isnan(features[5]).all()
    others = [*range(5), 6, 7]
    assert_allclose(features[others], clean_features()[others], atol=1e-5)
    assert len(messages) == 1
    assert "1 of 8 pictures could not be read" in messages[0]


def test_fault_17_a_picture_of_196_million_pixels(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(14_000, 14_000))  # to decode it would find no pixels
    check_refused(with_one(path), "row 5 of X .* more pixels than the limit of 89,478,485")
    # Also where damaged pictures become NaN: a picture that was left out by its size is no damage.
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        extractor(on_error="nan").fit_transform([path])


@pytest.mark.parametrize("name", [".jpg", ".png", ".webp", ".gif", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_fault_18_a_truncated_file(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = Path(saved(tmp_path, [Image.fromarray(noise)], name)[0])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    check_policy(path, "can't be decoded|is empty, damaged, or none of")


def test_fault_19_an_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    check_policy(tmp_path / "a.jpg", "The file is empty, damaged, or none of JPEG, PNG")


@pytest.mark.parametrize(
    "text", ["hello\n" * 99, "<!DOCTYPE html><html>", "version https://git-lfs"]
)
def test_fault_20_text_with_the_name_of_a_picture(tmp_path, text):
    (tmp_path / "a.jpg").write_text(text)
    check_policy(tmp_path / "a.jpg", "The file is empty, damaged, or none of JPEG, PNG")


def test_fault_21_a_PNG_with_the_name_of_a_JPEG(tmp_path):
    paths = saved(tmp_path, IMAGES, ".jpg", format="PNG")
    check_as_clean(*columns(paths).values(), opened(paths))


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (2, TRANSPOSE.FLIP_LEFT_RIGHT),
        (3, TRANSPOSE.ROTATE_180),
        (4, TRANSPOSE.FLIP_TOP_BOTTOM),
        (5, TRANSPOSE.TRANSPOSE),
        (6, TRANSPOSE.ROTATE_90),
        (7, TRANSPOSE.TRANSVERSE),
        (8, TRANSPOSE.ROTATE_270),
    ],
)
def test_fault_22_turned_by_EXIF(tmp_path, orientation, undo):
    upright = [image.crop((0, 0, 24, 32)) for image in IMAGES]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = [image.transpose(undo) for image in upright]
    png, tiff = (saved(tmp_path, turned, name, exif=exif) for name in (".png", ".tif"))
    webp = saved(tmp_path, turned, ".webp", exif=exif, lossless=True)
    check_as_clean(png, tiff, webp, opened(png), opened(webp), clean=upright)


def test_fault_23_JPEG_in_CMYK(tmp_path):
    images = [Image.fromarray(pixels) for pixels in BLOCKS]
    in_cmyk = saved(tmp_path, [i.convert("CMYK") for i in images], ".jpg", quality=100)
    assert mode_of(in_cmyk[0]) == "CMYK"
    # JPEG and CMYK lose a few grey levels; negatives, the usual mistake, differ by 1 and more.
    check_as_clean(in_cmyk, opened(in_cmyk), clean=images, atol=0.05)


@pytest.mark.parametrize("name", [".png", ".tif"])
def test_fault_24_16_bits(tmp_path, name):
    grey = [image.convert("L") for image in IMAGES]
    deep = [Image.fromarray(np.asarray(image).astype(np.uint16) * 257) for image in grey]
    paths = saved(tmp_path, deep, name)
    check_as_clean(paths, opened(paths), deep, clean=grey)
    ramp = np.linspace(0, 65535, 128 * 128).astype(np.uint16).reshape(128, 128)
    Image.fromarray(ramp).save(tmp_path / f"ramp{name}")
    dark, bright = fitted()[0].transform([ramp // 2, ramp])
    assert not np.allclose(dark, bright, atol=0.01)  # nothing is cut off at 255
    path = tmp_path / f"ramp{name}"
    assert_array_equal(fitted()[0].transform([path]), fitted()[0].transform([ramp]))


def test_fault_25_a_palette_with_transparency(tmp_path):
    images = [image.quantize(16) for image in IMAGES]
    expected = []
    for image in images:
        pixels = np.array(image.convert("RGB"))
        pixels[np.asarray(image) == 3] = 255
        expected.append(pixels)
    paths = saved(tmp_path, images, ".png", transparency=3)
    assert mode_of(paths[0]) == "P"
    check_as_clean(paths, opened(paths), clean=expected)


def test_fault_26_a_fully_transparent_picture(tmp_path):
    clear = np.dstack([PICTURES[0], np.zeros((32, 32), np.uint8)])
    paths = saved(tmp_path, [Image.fromarray(clear)] * 2, ".png")
    white = np.full((2, 32, 32, 3), 255, np.uint8)
    check_as_clean(np.stack([clear] * 2), paths, opened(paths), clean=white)


@pytest.mark.parametrize("name", [".gif", ".webp", ".png"])
def test_fault_27_an_animation(tmp_path, name):
    first, second = (Image.fromarray(pixels).quantize(8) for pixels in BLOCKS[:2])
    options = {"lossless": True} if name == ".webp" else {}
    paths = saved(tmp_path, [first] * 2, name, save_all=True, append_images=[second], **options)
    with told(ImageWarning) as messages:
        found = [extractor().fit_transform(paths), fitted()[0].transform(paths)]
        labels = fitted()[1].predict(paths)
    assert all("Only the first frame or page is used" in message for message in messages)
    assert 1 <= len(messages) <= 6  # at most one per file and call
    still = [first.convert("RGB")] * 2
    for features in found:
        assert_allclose(features, fitted()[0].transform(still), atol=1e-5)
    assert_array_equal(labels, fitted()[1].predict(still))


FITS = b"".join(
    card.ljust(80)
    for card in (
        *(b"SIMPLE  =                    T", b"BITPIX  =                    8"),
        *(b"NAXIS   =                    2", b"NAXIS1  =                    8"),
        *(b"NAXIS2  =                    8", b"END"),
    )
).ljust(2880) + bytes(2880)


@pytest.mark.parametrize("format_name", ["EPS", "PDF", "FITS"])
@pytest.mark.parametrize("name", ["own", "a.jpg"])
def test_fault_28_formats_that_are_not_allowed(tmp_path, monkeypatch, format_name, name):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)  # a program that may run code
    path = tmp_path / (name if name != "own" else f"a.{format_name.lower()}")
    if format_name == "FITS":
        path.write_bytes(FITS)
        with Image.open(path) as image:
            assert image.format == "FITS"
    else:
        IMAGES[0].save(path, format_name)
    # As any file that is no picture, it becomes NaN where `on_error` says so.
    check_policy(path, "none of JPEG, PNG, WEBP, GIF, BMP, TIFF")


@pytest.mark.parametrize("name", ["gone.jpg", "no/folder/a.jpg"])
def test_fault_29_a_missing_file(tmp_path, name):
    check_policy(tmp_path / name, "There is no such file")


def test_fault_29_a_missing_file_is_found_before_others_are_decoded(tmp_path, decoded):
    paths = [*save_pictures(PICTURES, tmp_path), tmp_path / "gone.jpg"]
    check_refused(paths, "row 8 of X")
    assert decoded == []


def test_fault_30_a_folder_as_a_path(tmp_path):
    check_refused(with_one(tmp_path), "row 5 of X .* This path is a folder")
    check_refused(with_one(str(tmp_path) + os.sep), "row 5 of X .* This path is a folder")
    with pytest.raises(ImageError, match=r"row 0 of X .* This path is a folder"):
        extractor(on_error="nan").fit_transform([tmp_path])


def test_fault_31_a_file_without_permission(tmp_path, monkeypatch):
    path = Path(save_pictures(PICTURES[:1], tmp_path)[0])
    path.chmod(0)
    original = builtins.open

    def refusing(file, *args, **options):  # root, who often runs tests, may read every file
        if isinstance(file, str | Path) and Path(file) == path:
            raise PermissionError(13, "Permission denied")
        return original(file, *args, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    check_policy(path, "Permission denied")


@pytest.mark.parametrize("name", ["Ünï çødé 图片 🐦", "with several  spaces", "a" * 200, "100%#?*"])
def test_fault_32_names_of_any_kind(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    paths = saved(folder, IMAGES, f"{name}.png")
    check_as_clean(*columns(paths).values(), [Path(path) for path in paths])
    found, labels = load_image_folder(tmp_path, return_X_y=True)
    assert sorted(map(str, found)) == sorted(paths)
    assert set(labels) == {name}


@pytest.fixture
def folder(tmp_path):
    """A folder with two classes of four pictures."""
    for name, pictures in (("bee", IMAGES[:4]), ("ant", IMAGES[4:])):
        (tmp_path / "data" / name).mkdir(parents=True)
        saved(tmp_path / "data" / name, pictures, ".png")
    return tmp_path / "data"


@pytest.mark.parametrize("target", [".", "..", "../ant"])
def test_fault_33_links_that_lead_in_a_circle(folder, target):
    (folder / "bee" / "again").symlink_to(target)
    with pytest.raises(ImageError, match=r"is the same folder as .* Remove the link"):
        load_image_folder(folder)


def test_fault_34_a_class_folder_without_pictures(folder):
    (folder / "wasp").mkdir()
    with told(ImageWarning) as messages:
        paths, labels = load_image_folder(folder, return_X_y=True)
    assert len(messages) == 1
    assert "wasp" in messages[0]
    assert len(paths) == 8
    assert set(labels) == {"ant", "bee"}


def test_fault_35_hidden_files(folder):
    before = load_image_folder(folder, return_X_y=True)
    for name in (".DS_Store", "bee/.DS_Store", "bee/._0.png", "bee/.hidden.png", "ant/Thumbs.db"):
        (folder / name).write_bytes(b"\0\0\0\1Bud1")
    (folder / ".git").mkdir()
    IMAGES[0].save(folder / ".git" / "a.png")
    after = load_image_folder(folder, return_X_y=True)
    assert_array_equal(after[0], before[0])
    assert_array_equal(after[1], before[1])

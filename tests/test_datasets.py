from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sktransfer
from sktransfer.datasets import load_clipart, load_image_folder
from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.decoding import decode_file

COUNTS = {
    "bird": 49,
    "bug": 49,
    "flower": 33,
    "fruit": 90,
    "house": 38,
    "mammal": 116,
    "music": 72,
    "vehicle": 58,
}


@pytest.fixture
def folder(tmp_path):
    for name in ["b/img10.png", "b/img2.png", "a/x/img1.png"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path


@pytest.mark.parametrize("kind", [str, Path])
def test_image_folder(folder, kind):
    bunch = load_image_folder(kind(folder))
    names = ["a/x/img1.png", "b/img2.png", "b/img10.png"]
    assert bunch.data.tolist() == [str(folder / name) for name in names]
    assert bunch.target.tolist() == ["a", "b", "b"]
    assert bunch.target_names == ["a", "b"]
    assert bunch.DESCR.startswith("3 pictures of 2 classes")
    assert bunch.data.dtype.kind == bunch.target.dtype.kind == "U"


def test_image_folder_as_a_pair(folder):
    bunch = load_image_folder(folder)
    data, target = load_image_folder(folder, return_X_y=True)
    np.testing.assert_array_equal(data, bunch.data)
    np.testing.assert_array_equal(target, bunch.target)


def test_relative_folder_gives_relative_paths(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    data, _ = load_image_folder(folder.name, return_X_y=True)
    assert not Path(data[0]).is_absolute()
    assert all(Path(path).exists() for path in data)


def test_image_folder_opens_no_picture(folder):
    (folder / "b" / "img3.png").write_bytes(b"no picture")
    assert len(load_image_folder(folder).data) == 4


def test_warning_about_an_empty_class_points_to_the_caller(folder):
    (folder / "empty").mkdir()
    with pytest.warns(ImageWarning, match="empty' holds no picture") as caught:
        bunch = load_image_folder(folder)
    assert [warning.filename for warning in caught] == [__file__]
    assert bunch.target_names == ["a", "b"]


@pytest.mark.parametrize("name", ["nothing", "b/img2.png", "b"])
def test_what_is_no_image_folder_raises(folder, name):
    with pytest.raises(ImageError, match="one subfolder a class"):
        load_image_folder(folder / name)


def test_clipart():
    clipart = load_clipart()
    assert len(clipart.data) == len(clipart.target) == len(set(clipart.data)) == 505
    assert Counter(clipart.target.tolist()) == COUNTS
    assert clipart.target_names == list(COUNTS)
    assert all(Path(path).is_file() for path in clipart.data)
    assert all(
        Path(path).parent.name == label
        for path, label in zip(clipart.data, clipart.target, strict=True)
    )
    assert "public domain" in clipart.DESCR


def test_clipart_as_a_pair():
    clipart = load_clipart()
    data, target = load_clipart(return_X_y=True)
    np.testing.assert_array_equal(data, clipart.data)
    np.testing.assert_array_equal(target, clipart.target)


def test_every_clipart_drawing_opens_and_lies_within_a_white_margin():
    for path in load_clipart().data:
        pixels = np.asarray(decode_file(path))
        height, width, _ = pixels.shape
        assert height == width <= 183, path
        margin = width // 23  # a sixteenth, less what compression smears
        drawing = pixels[margin:-margin, margin:-margin]
        assert drawing.min() < 200, path
        # Blanked where the drawing is, the picture is white.
        outside = pixels.copy()
        outside[margin:-margin, margin:-margin] = 255
        assert outside.min() > 220, path


def test_package_stays_small():
    root = Path(sktransfer.__file__).parent
    files = [p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(file.stat().st_size for file in files) < 2_000_000

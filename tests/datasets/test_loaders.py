import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import sktransfer
from sktransfer.datasets import load_clipart, load_image_folder
from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.decoding import decode_file
from tests.small_estimators import LITE0, make_extractor

TWINS = Path(__file__).parent / "clipart_twins"

COUNTS = {
    "bird": 45,
    "bug": 48,
    "flower": 31,
    "fruit": 83,
    "house": 37,
    "mammal": 114,
    "music": 68,
    "vehicle": 55,
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
    with pytest.raises(ImageError, match="one subfolder per class"):
        load_image_folder(folder / name)


def test_clipart():
    clipart = load_clipart()
    assert len(clipart.data) == len(clipart.target) == len(set(clipart.data)) == 481
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
        # The margin is a sixteenth of the width. Compression blurs its inner edge.
        margin = width // 23
        drawing = pixels[margin:-margin, margin:-margin]
        assert drawing.min() < 200, path
        # Outside of the drawing, the picture is white.
        outside = pixels.copy()
        outside[margin:-margin, margin:-margin] = 255
        assert outside.min() > 220, path


def test_no_two_clipart_files_hold_the_same_bytes():
    files = [Path(path).read_bytes() for path in load_clipart().data]
    assert len(set(files)) == len(files)


def drawing_in_grey(image):
    """Return a drawing without its margin as 24 x 24 standardised grey values."""
    grey = image.convert("L")
    box = grey.point(lambda value: 255 * (value < 235)).getbbox()
    values = np.asarray(grey.crop(box).resize((24, 24), Image.Resampling.BOX), dtype=float).ravel()
    return (values - values.mean()) / np.linalg.norm(values - values.mean())


def pairs_above(limit, similarities, names):
    rows, columns = np.nonzero(np.triu(similarities, 1) > limit)
    return [(names[i], names[j]) for i, j in zip(rows, columns, strict=True)]


def test_no_clipart_drawing_is_another_recoloured_or_mirrored():
    names = load_clipart().data
    images = [decode_file(path) for path in names]
    drawings = np.stack([drawing_in_grey(image) for image in images])
    mirrored = np.stack([drawing_in_grey(ImageOps.mirror(image)) for image in images])
    assert pairs_above(0.97, drawings @ drawings.T, names) == []
    assert pairs_above(0.97, drawings @ mirrored.T, names) == []


def test_no_two_clipart_drawings_have_nearly_the_same_features():
    names = load_clipart().data
    # A small size keeps this fast, and is large enough to find retouched drawings.
    extractor = make_extractor(backbone=LITE0, image_size=96)
    features = extractor.fit_transform(names)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert pairs_above(0.94, features @ features.T, names) == []


def test_twins_of_clipart_drawings_are_kept_for_tests():
    with (TWINS / "pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    clipart = Path(load_clipart().data[0]).parents[1]
    here = {path.name for path in TWINS.glob("*.webp")}
    assert {pair["picture"] for pair in pairs} | {"bird_018.webp"} == here
    for pair in pairs:
        picture, twin = TWINS / pair["picture"], pair["twin"]
        other = clipart / twin if "/" in twin else TWINS / twin
        same = picture.read_bytes() == other.read_bytes()
        assert same == (pair["how"] == "same bytes"), pair


def test_package_stays_small():
    root = Path(sktransfer.__file__).parent
    files = [p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    sizes = dict.fromkeys((True, False), 0)
    for file in files:
        sizes[file.suffix == ".py"] += file.stat().st_size
    assert sizes[False] < 1_500_000  # most of it are drawings
    assert sizes[True] < 1_500_000

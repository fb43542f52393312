"""Faults that are planted in pictures are found by check_pictures as a whole."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from sktransfer import check_pictures, load_clipart, read_corrections
from sktransfer.exceptions import ImageError, ParameterError
from sktransfer.images.decoding import decode_file
from tests.conftest import make_pictures, save_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

TWINS = Path(__file__).parents[2] / "datasets" / "clipart_twins"


@pytest.fixture(scope="module")
def clipart():
    """Some drawings with their labels, and an extractor whose features tell classes apart."""
    X, y = load_clipart(return_X_y=True)
    return X[::6], y[::6], make_extractor(backbone=LITE0, image_size=96)


def rows_of(check, kind):
    return [
        (*each.rows, *(f"test {row}" for row in each.test_rows)) for each in check.of_kind(kind)
    ]


def test_clean_drawings(clipart):
    X, y, extractor = clipart
    check = check_pictures(X, y, features=extractor)
    assert {each.severity for each in check} <= {"warning", "note"}
    assert set(check.counts) <= {"label_error", "outlier", "small_class", "imbalance"}
    assert set(check.not_made) == {"leakage", "shift"}


def test_planted_faults_are_found(clipart, tmp_path):
    X, y, extractor = clipart
    n = len(X)
    (tmp_path / "broken.jpg").write_bytes(Path(X[0]).read_bytes()[:500])
    Image.new("RGB", (150, 150), "white").save(tmp_path / "blank.png")
    Image.new("RGB", (900, 90), "white").save(tmp_path / "long.png")
    drawing = decode_file(X[5])
    drawing.resize((6, 6)).save(tmp_path / "tiny.png")
    drawing.save(tmp_path / "copy.png")
    drawing = decode_file(X[30])
    ImageOps.mirror(drawing).save(tmp_path / "mirrored.jpg", quality=70)
    names = ["broken.jpg", "blank.png", "long.png", "tiny.png", "copy.png", "mirrored.jpg"]
    planted = [*X, *(tmp_path / name for name in names)]
    other = next(label for label in y if label != y[30])
    labels = [*y, "bird", "bird", "bug", "bug", y[5], other]
    check = check_pictures(planted, labels, features=extractor, X_test=[X[9], X[5]])
    assert rows_of(check, "unreadable") == [(n,)]
    assert (n + 1,) in rows_of(check, "blank")
    assert rows_of(check, "extreme_aspect") == [(n + 2,)]
    assert rows_of(check, "tiny") == [(n + 3,)]
    assert rows_of(check, "label_conflict") == [(30, n + 5)]
    assert rows_of(check, "leakage") == [(5, n + 4, "test 1"), (9, "test 0")]


def test_twins_of_drawings_are_found():
    """Real copies: those that were taken out of the packaged clip-art."""
    folder = Path(load_clipart().data[0]).parents[1]
    with (TWINS / "pairs.csv").open() as file:
        pairs = [(TWINS / pair["picture"], pair["twin"]) for pair in csv.DictReader(file)]
    others = [folder / twin if "/" in twin else TWINS / twin for _, twin in pairs]
    pictures = list(dict.fromkeys([*(picture for picture, _ in pairs), *others]))
    features = make_extractor(backbone=LITE0, image_size=128)
    check = check_pictures(pictures, features=features)
    groups = [
        each.rows for kind in ("exact_duplicate", "near_duplicate") for each in check.of_kind(kind)
    ]
    together = {(i, j) for group in groups for i in group for j in group}
    found = [
        (pictures.index(picture), pictures.index(other)) in together
        for (picture, _), other in zip(pairs, others, strict=True)
    ]
    assert np.mean(found) >= 0.8


def test_a_camera_that_gives_the_label_away(tmp_path, pictures):
    X, y = pictures
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Camera 2"
    paths = [str(tmp_path / f"{i}.jpg") for i in range(24)]
    for i, path in enumerate(paths):
        Image.fromarray(X[i]).save(path, **({"exif": exif} if y[i] else {}))
    [found] = check_pictures(paths, y, features=np.zeros((24, 2))).of_kind("shortcut")
    assert found.severity == "warning"
    assert "camera" in found.message


def test_wrong_labels_can_be_corrected(clipart, tmp_path):
    X, y, extractor = clipart
    two = np.isin(y, ["fruit", "vehicle"])
    X, right = X[two], y[two]
    wrong = right.copy()
    flipped = np.arange(2, len(X), 9)
    wrong[flipped] = np.where(right[flipped] == "fruit", "vehicle", "fruit")
    check = check_pictures(X, wrong, features=extractor)
    assert check.write_corrections(tmp_path / "labels.csv") == check.counts["label_error"]
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8-sig")
    lines = list(csv.DictReader(text.splitlines()))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows({**line, "label": line["suggestion"]} for line in lines)
    corrected = read_corrections(tmp_path / "labels.csv", wrong)
    assert np.mean(corrected == right) > np.mean(wrong == right)


def forms(X, folder):
    paths = save_pictures(X, folder)
    yield "array", X, "row 3 of X"
    yield "tensor", torch.from_numpy(X.copy()).permute(0, 3, 1, 2), "row 3 of X"
    yield "images", [Image.fromarray(each) for each in X], "row 3 of X"
    yield "paths", paths, "picture_3.png"


def test_copies_are_found_in_every_form_of_X(tmp_path):
    X = make_pictures(8)[0].copy()
    X[7] = X[3]
    for form, given, name in forms(X, tmp_path):
        check = check_pictures(given, features=make_extractor())
        [found] = check.of_kind("exact_duplicate")
        assert (found.rows, form) == ((3, 7), form)
        assert found.message.startswith(name)


@pytest.mark.parametrize("dtype", ["Int64", "boolean"])
def test_labels_of_nullable_types_are_written_and_read_back(pictures, tmp_path, dtype):
    X = [*pictures[0], pictures[0][0]]
    y = pd.Series([*pictures[1], 1], dtype=dtype)
    check = check_pictures(X, y, features=np.zeros((25, 2)))
    zero, one = sorted(set(y.tolist()))
    assert f"row 0 of X ({zero}) and row 24 of X ({one})" in check[0].message
    assert check.write_corrections(tmp_path / "a.csv") == 2
    assert read_corrections(tmp_path / "a.csv", y).tolist() == y.tolist()


def test_colours_of_one_grey_are_compared(pictures):
    two = np.full((32, 32, 3), (255, 0, 0), np.uint8)
    two[:, 16:] = (0, 130, 0)
    check = check_pictures([*pictures[0], two, two], [*pictures[1], 0, 1], features=np.eye(26))
    assert rows_of(check, "label_conflict") == [(24, 25)]
    assert check.of_kind("blank") == ()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_pictures_of_other_channels(channels):
    X = np.random.default_rng(0).integers(0, 256, (12, 32, 32, channels), dtype=np.uint8)
    X[7] = X[3]
    X[5] = 9
    check = check_pictures(X, features=make_extractor(in_channels=channels))
    assert rows_of(check, "exact_duplicate") == [(3, 7)]
    assert rows_of(check, "blank") == [(5,)]


def test_without_labels_only_pictures_are_checked(pictures):
    check = check_pictures(pictures[0], features=make_extractor())
    missing = {kind for kind, reason in check.not_made.items() if reason == "y was not given"}
    assert missing == {
        *("label_conflict", "label_error", "single_class", "small_class", "imbalance", "shortcut")
    }


def test_several_labels(pictures):
    y = np.eye(3)[np.arange(24) % 3]
    check = check_pictures(pictures[0], y, features=make_extractor())
    assert "several" in check.not_made["label_error"]
    assert "several" in check.not_made["shortcut"]
    assert check.counts["small_class"] == 3


def test_checks_that_need_features_are_not_made_without_them(monkeypatch, pictures):
    from sktransfer.inspection.data_checks import features

    monkeypatch.setattr(features, "_DEFAULTS", ())
    check = check_pictures(*pictures)
    needy = {"near_duplicate", "label_conflict", "label_error", "outlier"}
    assert {kind for kind, why in check.not_made.items() if "sktransfer[offline]" in why} == needy
    assert "sktransfer[offline]" in str(check)


def test_equal_pictures_are_compared_without_features(monkeypatch, pictures):
    from sktransfer.inspection.data_checks import features

    monkeypatch.setattr(features, "_DEFAULTS", ())
    X, y = pictures
    check = check_pictures([*X, X[0]], [*y, 1], X_test=X[:1])
    assert rows_of(check, "label_conflict") == [(0, 24, "test 0")]
    for kind in ("label_conflict", "leakage"):
        assert check.not_made[kind].startswith("only equal pictures were compared: no pretrained")


def test_features_that_saw_labels_are_not_compared(pictures):
    X, y = pictures
    classifier = make_classifier(hidden_layer_sizes=(4,), max_epochs=1).fit(X, y)
    check = check_pictures(X, y, features=classifier, X_test=X[:1])
    for kind in ("label_error", "near_duplicate", "outlier", "label_conflict", "leakage"):
        assert "was trained on labels" in check.not_made[kind]
    assert rows_of(check, "leakage") == [(0, "test 0")]


def test_all_pictures_are_broken():
    check = check_pictures(["a.jpg", "b.jpg"], ["x", "y"], features=make_extractor())
    assert [each.kind for each in check] == ["unreadable"] * 2 + ["small_class"] * 2
    assert check.not_made["near_duplicate"] == "no picture can be read"


@pytest.mark.parametrize("n", [1, 2])
def test_very_few_rows(n, pictures):
    check = check_pictures(pictures[0][:n], pictures[1][:n], features=make_extractor())
    assert {"label_error", "outlier"} <= set(check.not_made)


def test_one_class(pictures):
    check = check_pictures(pictures[0], ["a"] * 24, features=make_extractor())
    assert check[0].kind == "single_class"
    assert check.not_made["label_error"] == "y has only one class"


def test_every_picture_twice(pictures):
    twice = np.concatenate([pictures[0]] * 2)
    check = check_pictures(twice, [*pictures[1]] * 2, features=make_extractor())
    assert rows_of(check, "exact_duplicate") == [(i, i + 24) for i in range(24)]


def test_pictures_of_one_pixel():
    X = np.random.default_rng(0).integers(0, 256, (30, 1, 1, 3), dtype=np.uint8)
    check = check_pictures(X, np.arange(30) % 2, features=make_extractor())
    assert check.counts["blank"] == 30
    assert "all are blank" in check.not_made["near_duplicate"]


def test_rows_of_pixels(pictures):
    X = pictures[0].reshape(24, -1)
    check = check_pictures(X, pictures[1], features=make_extractor(image_shape=(32, 32, 3)))
    assert check.n_rows == 24
    with pytest.raises(ImageError, match="image_shape"):
        check_pictures(X, features=np.zeros((24, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": []}, ImageError, "X is empty"),
        ({"X": "a.jpg"}, ImageError, "one path"),
        ({"X_test": []}, ImageError, "is empty"),
        ({"y": [0, 1]}, ValueError, "inconsistent numbers"),
        ({"y": [0, 1, None] * 8}, ValueError, "NaN or None, first in row 2"),
        ({"features": np.zeros((3, 2))}, ParameterError, "3 rows"),
        ({"features": np.zeros((24, 2)), "cache": "c"}, ParameterError, "has no use"),
    ],
)
def test_what_is_refused_before_any_picture_is_read(
    arguments, error, message, picture_files, decoded
):
    with pytest.raises(error, match=message):
        check_pictures(**{"X": picture_files[0], "features": make_extractor(), **arguments})
    assert decoded == []


def test_each_picture_is_read_twice_and_once_with_a_cache(picture_files, tmp_path, decoded):
    X, y = picture_files
    first = check_pictures(X, y, features=make_extractor(), cache=tmp_path / "cache")
    assert len(decoded) == 48  # for its facts, and for its features
    decoded.clear()
    again = check_pictures(X, y, features=make_extractor(), cache=tmp_path / "cache")
    assert len(decoded) == 24
    assert again.findings == first.findings

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from sktransfer.exceptions import ImageWarning
from sktransfer.images.sources import as_images
from sktransfer.inspection.data_checks.picture_facts import facts_of, readable


def facts(X):
    return facts_of(as_images(X), [f"picture {i}" for i in range(len(X))])


@pytest.fixture
def photo(pictures):
    return Image.fromarray(pictures[0][0]).resize((40, 30))


def with_camera(photo, path, make="Make\0", model="Model 1 "):
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = make, model
    photo.save(path, exif=exif)
    return path


def test_facts_of_a_file(photo, tmp_path):
    [found] = facts([with_camera(photo, tmp_path / "a.jpg")])
    assert (found.name, found.path) == ("picture 0", str(tmp_path / "a.jpg"))
    assert (found.size, found.file_format, found.camera) == ((40, 30), "JPEG", "Make Model 1")
    assert found.error is None
    assert found.spread > 2


def test_a_picture_is_known_by_its_pixels_in_any_form(photo, tmp_path):
    photo.save(tmp_path / "a.png")
    photo.save(tmp_path / "b.bmp")
    forms = [tmp_path / "a.png", tmp_path / "b.bmp", photo, np.asarray(photo)]
    assert len({each.digest for each in facts(forms)}) == 1
    turned = np.asarray(photo).transpose(1, 0, 2)
    assert facts([turned])[0].digest != facts([photo])[0].digest


def test_pixels_of_another_shape_are_another_picture():
    one, other = (np.zeros(shape, np.uint8) for shape in ((6, 4, 3), (4, 6, 3)))
    assert len({each.digest for each in facts([one, other])}) == 2


def test_a_pil_image_has_a_camera_too(photo, tmp_path):
    path = with_camera(photo, tmp_path / "a.jpg")
    with Image.open(path) as image:
        [found] = facts([image])
    assert (found.path, found.camera, found.file_format) == (None, "Make Model 1", "JPEG")


def test_a_file_without_exif_has_no_camera(photo, tmp_path):
    photo.save(tmp_path / "a.webp")
    [found] = facts([tmp_path / "a.webp"])
    assert (found.camera, found.file_format) == (None, "WEBP")


def test_what_cannot_be_read_does_not_stop_the_rest(photo, tmp_path):
    photo.save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    names = ["whole.jpg", "truncated.jpg", "text.jpg", "empty.png", "missing.jpg", "."]
    found = facts([*(tmp_path / name for name in names), np.full((9, 5, 3), 7.0), None, photo])
    assert readable(found) == [0, 8]
    assert "runcated" in found[1].error
    assert found[2].error == found[3].error
    assert found[2].error.startswith("The file is empty, damaged, or none of")
    assert found[4].error == "There is no such file."
    assert "folder" in found[5].error
    assert "0..1" in found[6].error
    assert "missing value" in found[7].error


def test_the_spread_tells_a_drawing_from_noise():
    rng = np.random.default_rng(0)
    even = np.full((200, 200, 3), 128, np.uint8)
    noisy = np.clip(even + rng.normal(0, 10, even.shape), 0, 255).astype(np.uint8)
    line = even.copy()
    line[90:95, 20:180] = 0
    blank, grain, drawing = (each.spread for each in facts([even, noisy, line]))
    assert blank == 0
    assert grain < 2 < drawing


def test_colours_of_one_grey_and_fine_patterns_are_something_to_see():
    two_colours = np.full((64, 64, 3), (255, 0, 0), np.uint8)
    two_colours[:, 32:] = (0, 130, 0)
    checks = np.indices((64, 64)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * 255
    for found in facts([two_colours, checks.astype(np.uint8)]):
        assert found.spread > 50
        assert not found.is_plain
    assert facts([np.full((9, 9, 3), (255, 0, 7), np.uint8)])[0].is_plain


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("has_exif", [False, True])
def test_a_png_is_decoded_once(photo, tmp_path, monkeypatch, mode, has_exif):
    decoded = []
    load = PngImagePlugin.PngImageFile.load_prepare
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load_prepare", lambda it: decoded.append(it) or load(it)
    )
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Model 1"
    path = tmp_path / "a.png"
    photo.convert(mode).save(path, **({"exif": exif} if has_exif else {}))
    assert [each.camera for each in facts([path])] == ["Model 1" if has_exif else None]
    assert len(decoded) == 1


def test_exif_behind_the_pixels_of_a_png(photo, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Model 1"
    photo.save(tmp_path / "a.png", exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    start = data.index(b"eXIf") - 4
    chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]
    end = data.index(b"IEND") - 4
    moved = data[:end] + chunk + data[end:]
    (tmp_path / "a.png").write_bytes(moved[:start] + moved[start + len(chunk) :])
    assert facts([tmp_path / "a.png"])[0].camera == "Model 1"


def test_warnings_point_at_the_caller(photo, tmp_path):
    other = photo.rotate(180)
    photo.save(tmp_path / "a.gif", save_all=True, append_images=[other])
    with pytest.warns(ImageWarning, match="first frame") as caught:
        facts([tmp_path / "a.gif"])
    assert caught[0].filename == __file__

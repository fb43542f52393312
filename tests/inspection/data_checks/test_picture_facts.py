import numpy as np
import pytest
from PIL import ExifTags, Image

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


def test_warnings_point_at_the_caller(photo, tmp_path):
    other = photo.rotate(180)
    photo.save(tmp_path / "a.gif", save_all=True, append_images=[other])
    with pytest.warns(ImageWarning, match="first frame") as caught:
        facts([tmp_path / "a.gif"])
    assert caught[0].filename == __file__

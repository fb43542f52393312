from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sktransfer.exceptions import ImageError, UnreadableImageError
from sktransfer.images.decoding import decode_file, pil_to_rgb

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))
SCAN, END = b"\xff\xda", b"\xff\xd9"


def jpeg_of_scans(n):
    """Make a progressive JPEG of `n` scans, most of which change nothing."""
    file = BytesIO()
    PICTURE.save(file, "JPEG", progressive=True)
    contents = file.getvalue()
    last = contents.rindex(SCAN)
    length = 2 + int.from_bytes(contents[last + 2 : last + 4], "big")
    empty = contents[last : last + length] + b"\0"
    return contents.removesuffix(END) + empty * (n - contents.count(SCAN)) + END


def read(tmp_path, contents):
    path = tmp_path / "a.jpg"
    path.write_bytes(contents)
    return np.asarray(decode_file(path))


def test_200_scans_are_read(tmp_path):
    assert read(tmp_path, jpeg_of_scans(200)).shape == (24, 24, 3)


def test_more_scans_are_refused(tmp_path):
    with pytest.raises(ImageError, match="more than 200 scans") as caught:
        read(tmp_path, jpeg_of_scans(201))
    # on_error="skip" is for damaged files, and this one is hostile.
    assert not isinstance(caught.value, UnreadableImageError)


def test_an_opened_image_is_refused_as_well():
    with pytest.raises(ImageError, match="more than 200 scans"):
        pil_to_rgb(Image.open(BytesIO(jpeg_of_scans(300))))


def test_an_image_that_is_decoded_already_is_read():
    image = Image.open(BytesIO(jpeg_of_scans(300)))
    image.load()
    assert pil_to_rgb(image).size == (24, 24)


@pytest.mark.parametrize("appended", [b"\xff\xda" * 1000, jpeg_of_scans(300)])
def test_what_follows_the_picture_is_not_counted(tmp_path, appended):
    """As the video of a telephone's motion photo."""
    contents = jpeg_of_scans(10)
    np.testing.assert_array_equal(read(tmp_path, contents + appended), read(tmp_path, contents))


def test_thumbnails_are_not_counted(tmp_path):
    contents = jpeg_of_scans(10)
    thumbnail = SCAN * 300
    segment = b"\xff\xe5" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    contents = contents[:2] + segment + contents[2:]
    assert read(tmp_path, contents).shape == (24, 24, 3)

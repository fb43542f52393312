from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sktransfer.exceptions import ImageError
from sktransfer.images.sources import as_images
from sktransfer.inspection.thumbnails import placeholder, thumbnails


def test_thumbnails_have_the_shape_of_their_pictures():
    images = as_images([np.zeros((60, 30, 3), np.uint8), np.zeros((8, 400), np.uint8)])
    tall, wide = thumbnails(images, [0, 1], side=20).pictures
    assert tall.shape == (20, 10, 3)
    assert wide.shape == (1, 20, 3)  # never without a row


def test_thumbnails_come_in_the_order_of_the_rows(pictures):
    X, _ = pictures
    images = as_images(X)
    shown = thumbnails(images, [3, 0, 3], side=32).pictures
    for row, picture in zip([3, 0, 3], shown, strict=True):
        np.testing.assert_array_equal(picture, X[row])


def test_small_pictures_keep_their_size():
    images = as_images([np.zeros((5, 4, 3), np.uint8)])
    assert thumbnails(images, [0], side=64).pictures[0].shape == (5, 4, 3)


def test_a_picture_is_read_once(picture_files, decoded):
    paths, _ = picture_files
    thumbnails(as_images(paths), [1, 1, 2], side=16)
    assert sorted(decoded) == paths[1:3]


def test_a_placeholder_stands_for_a_picture_that_is_gone_or_damaged(picture_files):
    paths, _ = picture_files
    Path(paths[0]).unlink()
    Path(paths[2]).write_bytes(b"no picture")
    found = thumbnails(as_images(paths), [0, 1, 2, 0], side=16)
    assert found.unreadable == [0, 2, 0]
    np.testing.assert_array_equal(found.pictures[0], placeholder(16))
    np.testing.assert_array_equal(
        found.pictures[1], np.asarray(Image.open(paths[1]).resize((16, 16), 2))
    )


def test_what_never_was_a_picture_is_an_error():
    with pytest.raises(ImageError, match="row 1 of X"):
        thumbnails(as_images(["a.png", 3]), [1], side=16)

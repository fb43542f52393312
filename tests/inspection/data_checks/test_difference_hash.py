import numpy as np
from PIL import Image, ImageOps

from sktransfer.inspection.data_checks.difference_hash import difference_hash


def picture(seed):
    fields = np.random.default_rng(seed).integers(0, 256, (12, 15), dtype=np.uint8)
    return Image.fromarray(fields).resize((300, 240), Image.Resampling.BICUBIC)


def differ(one, other):
    return (one ^ other).bit_count()


def test_each_bit_tells_if_a_field_is_brighter_than_its_left_neighbour():
    ramp = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert difference_hash(Image.fromarray(ramp)) == (2**64 - 1, 0)


def test_a_smaller_copy_has_nearly_the_same_hash():
    one, other = picture(0), picture(0).resize((120, 96))
    assert differ(difference_hash(one)[0], difference_hash(other)[0]) <= 2


def test_the_second_hash_is_that_of_the_mirror_image():
    own, mirrored = difference_hash(picture(0))
    assert difference_hash(ImageOps.mirror(picture(0))) == (mirrored, own)
    assert differ(own, mirrored) > 15


def test_another_picture_has_another_hash():
    assert differ(difference_hash(picture(0))[0], difference_hash(picture(1))[0]) > 15


def test_a_picture_of_one_pixel_has_a_hash():
    assert difference_hash(Image.new("L", (1, 1))) == (0, 0)

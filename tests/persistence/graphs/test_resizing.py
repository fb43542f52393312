import numpy as np
import pytest
import torch

from sktransfer.images.preprocessing import Preprocessing
from sktransfer.persistence.graphs.resizing import Square

WAYS = [
    *[("crop", "center"), ("squash", "center"), ("pad", "center")],
    *[("crop", "squash"), ("crop", "border"), ("pad", "border")],
]
# Squares, sides of one pixel, sizes that keep their pixels, and pictures as long as those that
# `Preprocessing` crops before it resizes them.
SIZES = [(32, 32), (40, 40), (40, 50), (1, 1), (1, 50), (300, 2), (2, 300), (33, 97), (71, 45)]


def square_of(preset, pictures):
    return Square(preset)(torch.from_numpy(pictures)).numpy()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop_mode"), WAYS)
@pytest.mark.parametrize(("resize_size", "crop_size"), [(40, 32), (33, 28), (32, 32)])
def test_pixels_are_those_of_the_estimators(
    interpolation, resize, crop_mode, resize_size, crop_size
):
    mean, std = (0.485, 0.456, 0.406), (0.2, 0.2, 0.2)
    preset = Preprocessing(
        *(resize_size, crop_size, interpolation, mean, std), resize=resize, crop_mode=crop_mode
    )
    rng = np.random.default_rng(0)
    sizes = [*SIZES, *rng.integers(1, 150, (6, 2)).tolist()]
    for number, (height, width) in enumerate(sizes):
        # Of two colours, bicubic interpolation overshoots and is clipped between its passes.
        few = number % 2
        pictures = rng.integers(0, 2 if few else 256, (2, height, width, 3)) * (255 if few else 1)
        pictures = pictures.astype(np.uint8)
        expected = np.stack([preset(picture) for picture in pictures])
        np.testing.assert_array_equal(square_of(preset, pictures), expected)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_other_channels(channels, resize):
    preset = Preprocessing(36, 32, "bicubic", (0.5,) * channels, (0.2,) * channels, resize=resize)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 50, 41, channels), dtype=np.uint8)
    expected = np.stack([preset(picture) for picture in pictures])
    np.testing.assert_array_equal(square_of(preset, pictures), expected)

import re

import numpy as np
import pytest
import torch
from PIL import Image

from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.arrays import (
    array_to_image,
    check_layout,
    on_white,
    refuse_masked,
    scale_16_bit,
    tensor_to_array,
    to_uint8,
)
from sktransfer.images.sources import as_images

NOISE = np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)
NOISE.flags.writeable = False


def pixels_of(array, image_shape=None):
    image = array_to_image(array, image_shape)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint32, ">i4"]
)
def test_integers_in_range_are_pixels(dtype):
    values = NOISE // 2  # int8 holds values up to 127
    np.testing.assert_array_equal(pixels_of(values.astype(dtype)), values)


def test_bool_is_black_and_white():
    mask = np.array([[True, False, True]] * 5)
    np.testing.assert_array_equal(pixels_of(mask)[..., 0], mask * 255)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_round_to_the_nearest_level(dtype):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(pixels_of((levels / 255).astype(dtype))[..., 0], levels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_that_resampling_rounded_over_the_ends_are_the_ends(dtype):
    # Just within the tolerance of 1e-6.
    array = np.array([[-9e-7, 0.5, 1 + 9e-7]], dtype)
    assert pixels_of(array)[0, :, 0].tolist() == [0, 128, 255]


# With fewer digits the message would say "got 0..1".
@pytest.mark.parametrize("value", [-2e-6, 1 + 2e-6])
def test_floats_further_out_are_told_with_enough_digits(value):
    with pytest.raises(ImageError, match=re.escape(f"{value:.8g}")):
        array_to_image(np.array([[0.5, value]]))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[0, 256]]), r"0\.\.255; got 0\.\.256"),
        (np.array([[-1, 3]], dtype=np.int8), r"got -1\.\.3"),
        (NOISE.astype(np.float32), r"0\.\.1.*Divide"),
        (np.array([[-0.5, 0.5]]), r"got -0\.5\.\.0\.5"),
        (np.array([[0.5, np.nan]]), "finite"),
        (np.array([[0.5, np.inf]]), "finite"),
        (np.array([[0.5, -np.inf]]), "finite"),
        (np.ones((4, 4), complex), "Complex"),
        (np.full((4, 4), "a", dtype=object), "must be numbers"),
        (np.ones((4, 4), "m8[s]"), "must be numbers"),
    ],
)
def test_values_out_of_range_or_kind_raise(array, message):
    with pytest.raises(ImageError, match=message):
        array_to_image(array)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_uint16_is_scaled_and_not_clipped(dtype):
    ramp = np.linspace(0, 65535, 4096).astype(dtype).reshape(64, 64)
    grey = pixels_of(ramp)[..., 0]
    assert len(np.unique(grey)) >= 250
    assert (grey.min(), grey.max()) == (0, 255)
    np.testing.assert_allclose(grey, ramp / 257.0, atol=0.51)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("largest", [1, 255])
def test_uint16_that_looks_like_8_bit_raises(dtype, largest):
    with pytest.raises(ImageError, match="looks like 8-bit"):
        array_to_image(np.array([[0, largest]], dtype=dtype))


@pytest.mark.parametrize("value", [0, 256])
def test_uint16_black_and_just_above_8_bit_are_accepted(value):
    assert to_uint8(np.full((2, 2), value, np.uint16)).max() == (value > 0)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_uint16_that_looks_like_12_bit_is_read_with_a_warning(shape):
    with pytest.warns(ImageWarning, match="4095 or less"):
        assert (pixels_of(np.full(shape, 4095, np.uint16)) == 16).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("largest", "error"), [(255, ImageError), (4095, ImageWarning)])
def test_opacity_does_not_hide_that_colours_have_fewer_bits(largest, error):
    array = np.full((4, 4, 4), largest, np.uint16)
    array[..., 3] = 65535  # the alpha channel uses the full range even in 8-bit data
    with pytest.raises(error):
        array_to_image(array)


@pytest.mark.parametrize("highest", [255, 1023, 4095, 65535])
def test_a_scale_of_fewer_bits_is_rounded_and_not_clipped(highest):
    values = np.arange(highest + 1, dtype=np.uint16)
    exact = values * (255 / highest)
    np.testing.assert_array_equal(scale_16_bit(values, highest), np.rint(exact))


def test_16_bit_scale_keeps_both_ends():
    # 257 is one grey level, so the limit of rounding is between 128 and 129.
    np.testing.assert_array_equal(scale_16_bit(np.array([0, 128, 129, 65535])), [0, 0, 1, 255])


@pytest.mark.parametrize("shape", [(12, 18), (12, 18, 1)])
def test_grey_fills_three_equal_channels(shape):
    grey = NOISE[..., 0].reshape(shape)
    pixels = pixels_of(grey)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], NOISE[..., 0])


def test_transparency_is_laid_on_white():
    opaque, clear, half = (200, 10, 10, 255), (200, 10, 10, 0), (0, 0, 0, 128)
    pixels = pixels_of(np.array([[opaque, clear, half]] * 5, dtype=np.uint8))
    np.testing.assert_array_equal(pixels[0, 0], opaque[:3])
    np.testing.assert_array_equal(pixels[0, 1], 255)
    np.testing.assert_allclose(pixels[0, 2], 127, atol=1)


def test_on_white_of_several_boxes():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 515, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    np.testing.assert_array_equal(on_white(image), whole)


def test_on_white_leaves_opaque_pixels():
    np.testing.assert_array_equal(on_white(array_to_image(NOISE)), NOISE)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 32, 32), r"channels-first.*transpose\(1, 2, 0\)"),
        ((1, 32, 32), "channels-first"),
        ((32, 32, 2), "got 2 "),
        ((32, 32, 5), "got 5 "),
        ((3, 32, 3), "channels-first or channels-last"),
        ((4, 32, 1), "channels-first or channels-last"),
        ((3, 3, 3), "channels-first or channels-last"),
        ((9,), "A picture is an array of shape"),
        ((2, 9, 9, 3), "A picture is an array of shape"),
        ((), "A picture is an array of shape"),
        ((0, 9, 3), "without pixels"),
        ((9, 0), "without pixels"),
        ((9, 9, 0), "without pixels"),
    ],
)
def test_other_layouts_raise(shape, message):
    with pytest.raises(ImageError, match=message):
        array_to_image(np.zeros(shape, np.uint8))


def test_masked_values_are_no_pixels():
    whole = np.ma.masked_array(NOISE, mask=False)
    refuse_masked(whole)
    whole[3, 3, 0] = np.ma.masked
    with pytest.raises(ImageError, match=r"1 values of a masked array"):
        refuse_masked(whole)


def test_declared_shape_settles_an_ambiguous_layout():
    array = NOISE[:3]
    with pytest.raises(ImageError, match="image_shape"):
        array_to_image(array)
    np.testing.assert_array_equal(pixels_of(array, array.shape), array)


def test_another_declared_shape_does_not_settle_it():
    with pytest.raises(ImageError, match="image_shape"):
        check_layout((3, 9, 3), (9, 9, 3))


@pytest.mark.parametrize(
    "shape", [(3, 3, 1), (1, 1, 3), (1, 1, 1), (4, 4, 1), (4, 4, 3), (1, 9), (4, 4)]
)
def test_small_pictures_beyond_doubt_are_accepted(shape):
    assert array_to_image(np.zeros(shape, np.uint8)).size == (shape[1], shape[0])


@pytest.mark.parametrize(
    "view",
    [
        np.asarray,
        np.asfortranarray,
        lambda pixels: pixels[::-1, ::-1],
        lambda pixels: pixels[:, :, ::-1],
        lambda pixels: pixels[1::2, 1::3],
        lambda pixels: pixels.transpose(1, 0, 2),
        lambda pixels: pixels[..., :1],
    ],
    ids=["read-only", "fortran", "flipped", "bgr", "strided", "transposed", "channel"],
)
@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.int64, 1), (np.float32, 255)])
def test_memory_layout_does_not_matter_and_is_left_alone(view, dtype, scale):
    array = view((NOISE / scale).astype(dtype))
    array.flags.writeable = False
    before, strides = array.tobytes(), array.strides
    expected = np.broadcast_to(view(NOISE), (*array.shape[:2], 3))
    np.testing.assert_array_equal(pixels_of(array), expected)
    assert array.tobytes() == before
    assert array.strides == strides


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensor_becomes_channels_last(channels):
    tensor = torch.arange(channels * 5 * 6).reshape(channels, 5, 6)
    array = tensor_to_array(tensor)
    assert array.shape == (5, 6, channels)
    assert array[2, 4, channels - 1] == tensor[channels - 1, 2, 4]


def test_grey_tensor_stays_2d():
    assert tensor_to_array(torch.zeros(5, 6)).shape == (5, 6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensor_of_any_float_type_is_read(dtype):
    tensor = torch.full((3, 5, 6), 0.5, dtype=dtype, requires_grad=True)
    assert np.unique(pixels_of(tensor_to_array(tensor))).tolist() == [128]


@pytest.mark.parametrize(
    ("shape", "message"),
    [((9, 9, 3), "permute"), ((2, 9, 9), "permute"), ((3, 9, 3), "channels-first or")],
)
def test_tensor_of_another_layout_raises(shape, message):
    with pytest.raises(ImageError, match=message):
        tensor_to_array(torch.zeros(shape))


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(3, 5, 6).to_sparse(), torch.empty(3, 5, 6, device="meta")],
    ids=["sparse", "meta"],
)
def test_tensor_without_values_raises(tensor):
    with pytest.raises(ImageError, match="must hold its values"):
        tensor_to_array(tensor)
    with pytest.raises(ImageError, match="must hold its values"):
        as_images(tensor[None])

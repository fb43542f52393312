"""Convert an array or tensor to a picture, after checking its layout and values."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from sktransfer._common.tensors import numpy_of
from sktransfer._common.warning import warn
from sktransfer.exceptions import ImageError, ImageWarning

_CHANNELS = (1, 3, 4)
# Resampling in float32 may exceed 0..1 by this much. It is far less than one grey level, 1/255.
_TOLERANCE = 1e-6
# Left, top, right and bottom of a part of an image, as ``PIL.Image.Image.crop`` takes them.
Box = tuple[int, int, int, int]

# In pixels. The intermediate values of a box fit into a processor's cache.
_SIDE_OF_A_BOX = 256


def array_to_pixels(
    array: np.ndarray, image_shape: tuple[int, ...] | None, channels: int
) -> np.ndarray:
    """Convert a picture of other than three channels, all of which are data, to uint8.

    Parameters
    ----------
    array : ndarray of shape (h, w, channels), or (h, w) for one channel
        Values as in `array_to_image`.
    image_shape : tuple of int or None
    channels : int

    Returns
    -------
    ndarray of shape (h, w, channels), uint8

    Raises
    ------
    ImageError
        As `array_to_image`.
    """
    check_layout(array.shape, image_shape, channels)
    pixels = to_uint8(array, channels)
    if _is_uint16(array):
        warn_of_12_bit_values(int(array.max()))
    return pixels.reshape(*pixels.shape[:2], channels)


def array_to_image(array: np.ndarray, image_shape: tuple[int, ...] | None = None) -> Image.Image:
    """Convert the pixels of one picture to an RGB image.

    Parameters
    ----------
    array : ndarray of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)
        uint8 (0..255), other integers within 0..255, uint16 (0..65535, scaled),
        bool, or floats in 0..1. Four channels are red, green, blue and alpha.
    image_shape : tuple of int, optional
        The shape that the user declared. It decides how an ambiguous layout is read.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB"; transparent pixels are blended with white.

    Raises
    ------
    ImageError
        If the layout, the dtype or the range of values is not one of these.
    """
    check_layout(array.shape, image_shape)
    pixels = np.ascontiguousarray(to_uint8(array))
    if _is_uint16(array):
        warn_of_12_bit_values(int(without_alpha(array).max()))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return Image.fromarray(pixels.reshape(pixels.shape[:2])).convert("RGB")
    if pixels.shape[2] == 4:
        return on_white(Image.fromarray(pixels))
    return Image.fromarray(pixels)


def tensor_to_array(tensor: torch.Tensor, channels: int = 3) -> np.ndarray:
    """Convert a tensor (c, h, w) or (h, w) of one picture to a channels-last array."""
    known = _known(channels)
    check_dense(tensor)
    array: np.ndarray = numpy_of(tensor)
    if array.ndim == 3:
        if array.shape[0] not in known:
            form = "(3, h, w) or (1, h, w)" if channels == 3 else f"({channels}, h, w)"
            raise ImageError(
                f"A torch tensor must hold one picture as {form}; got shape "
                f"{tuple(array.shape)}. Use tensor.permute(2, 0, 1), or tensor.numpy() for a "
                f"channels-last array; of other channels, set in_channels ({channels} here)."
            )
        # A tiny square, such as (3, 4, 4), is read in torch's own layout.
        if array.shape[2] in known and array.shape[1] != array.shape[2]:
            _ambiguous(array.shape)
        array = array.transpose(1, 2, 0)
    return array


def check_layout(
    shape: tuple[int, ...], image_shape: tuple[int, ...] | None = None, channels: int = 3
) -> None:
    """Raise unless `shape` is unambiguously that of one channels-last picture."""
    # The user's declaration overrules every guess below.
    if image_shape is not None and tuple(shape) == tuple(image_shape):
        return
    known = _known(channels)
    is_grey = len(shape) == 2 and channels in (1, 3)
    if len(shape) != 3 and not is_grey:
        raise ImageError(f"A picture is an array of shape {_forms(channels)}; got {shape}.")
    if 0 in shape:
        raise ImageError(f"A picture without pixels: got an array of shape {shape}.")
    if is_grey:
        return
    if shape[2] not in known:
        if shape[0] in known:
            raise ImageError(
                f"A NumPy picture is channels-last, (h, w, {channels}); got {shape}, which looks "
                "channels-first. Use array.transpose(1, 2, 0), or pass a torch tensor."
            )
        raise ImageError(_wrong_number(shape, channels))
    # A square is read as channels-last, unless it would be as likely a picture in the other way.
    is_cube = set(shape) == {channels} and channels > 1
    if shape[0] in known and (shape[0] != shape[1] or is_cube):
        _ambiguous(shape)


def check_dense(tensor: torch.Tensor) -> None:
    """Raise for tensors whose values can't be had as an array: sparse, quantized and meta ones."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ImageError(
            f"A torch tensor of pictures must hold its values; got one of dtype {tensor.dtype}, "
            f"layout {tensor.layout} and device {tensor.device}. Use tensor.to_dense(), or "
            "tensor.dequantize()."
        )


def refuse_masked(array: np.ndarray) -> None:
    """Raise if values of a NumPy masked array are hidden: they are no pixels to compute with."""
    if np.ma.is_masked(array):
        raise ImageError(
            f"{np.ma.getmaskarray(array).sum()} values of a masked array are masked. Give them a "
            "colour with array.filled(value), or use array.data if all are valid."
        )


def _known(channels: int) -> tuple[int, ...]:
    """Numbers of channels from which a picture of `channels` can be made."""
    # Grey and alpha become RGB. Of other pictures, each channel is data, and nothing is guessed.
    return _CHANNELS if channels == 3 else (channels,)


def _forms(channels: int) -> str:
    if channels == 3:
        return "(h, w), (h, w, 1), (h, w, 3) or (h, w, 4)"
    return (
        "(h, w) or (h, w, 1) for in_channels=1"
        if channels == 1
        else (f"(h, w, {channels}) for in_channels={channels}")
    )


def _wrong_number(shape: tuple[int, ...], channels: int) -> str:
    """The message for an array that has another number of channels than is expected."""
    if channels == 3:
        return (
            f"A picture has 1, 3 or 4 channels in its last axis; got {shape[2]} (shape {shape}). "
            f"Estimators take such pictures with in_channels={shape[2]}."
        )
    remedy = "convert the pictures to grey" if channels == 1 else "select the channels"
    return (
        f"in_channels={channels} needs arrays of shape {_forms(channels).partition(' for')[0]}; "
        f"got {shape[2]} channels (shape {shape}). Set in_channels={shape[2]}, or {remedy}."
    )


def _ambiguous(shape: tuple[int, ...]) -> None:
    raise ImageError(
        f"An array of shape {tuple(shape)} can be read as channels-first or channels-last. "
        "Pass a channels-last array, and declare its layout with image_shape=(h, w, c)."
    )


def to_uint8(array: np.ndarray, channels: int = 3) -> np.ndarray:
    """Convert pixels to uint8, after checking that they lie in the range of their dtype.

    Only if `channels` is 3, the last of two or four channels is alpha.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating):
        return _float_to_uint8(array)
    if _is_uint16(array):
        judged = without_alpha(array) if channels == 3 else array
        refuse_8_bit_values(int(judged.max()))
        return scale_16_bit(array)
    if array.dtype.kind in "iu":  # np.integer would include timedelta64
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise ImageError(
                f"Integer pixels must lie in 0..255; got {low}..{high} ({array.dtype}). "
                "Scale them to uint8 first."
            )
        return array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.complexfloating):
        raise ImageError(f"Complex data not supported: got pixels of dtype {array.dtype}.")
    raise ImageError(f"Pixels must be numbers; got an array of dtype {array.dtype}.")


def _float_to_uint8(array: np.ndarray) -> np.ndarray:
    low, high = float(array.min()), float(array.max())  # NaN propagates through both
    if not np.isfinite([low, high]).all():
        raise ImageError(
            "Float pixels must be finite; got NaN or infinity. Replace them or drop the picture."
        )
    if low < -_TOLERANCE or high > 1.0 + _TOLERANCE:
        raise ImageError(
            f"Float pixels must lie in 0..1; got {low:.8g}..{high:.8g}. "
            + (
                "Give them as they were before they were normalised: that is done here."
                if low < -_TOLERANCE
                else "Divide by the largest possible value (255 for 8-bit pictures), or convert to "
                "uint8."
            )
        )
    # No clipping is needed: values beyond 0..1 exceed it by less than half a grey level.
    return np.rint(array * 255.0).astype(np.uint8)


def _is_uint16(array: np.ndarray) -> bool:
    return array.dtype.newbyteorder("=") == np.uint16  # files often hold big-endian pixels


def without_alpha(array: np.ndarray) -> np.ndarray:
    """Return pixels without their alpha channel, which is the last of two or four channels."""
    return array[..., :-1] if array.ndim == 3 and array.shape[2] in (2, 4) else array


def refuse_8_bit_values(highest: int) -> None:
    """Raise if 16-bit pixels look like 8-bit data, judging by their highest value."""
    # All pixels 0 are a black picture on either scale.
    if 0 < highest <= 255:
        raise ImageError(
            f"16-bit pixels are read on a scale of 0..65535, but the largest here is {highest}, "
            "so this looks like 8-bit data. Use array.astype('uint8'), or multiply by 257."
        )


def warn_of_12_bit_values(highest: int) -> None:
    """Warn if 16-bit pixels look like 12-bit data, judging by their highest value."""
    # A warning, not an error as for 8 bits: a dark 16-bit photo has such values too.
    if 255 < highest <= 4095:
        # The text does not name the picture: Python's filter then shows it once, and not once
        # per picture.
        warn(
            "16-bit pixels are read on a scale of 0..65535. Where the largest is 4095 or less, "
            "as in 12-bit data, the picture is almost black. If this is not intended, pass arrays "
            "whose values are multiplied by 16, or state the scale in the TIFF's "
            "SMaxSampleValue.",
            ImageWarning,
        )


def scale_16_bit(array: np.ndarray, highest: int = 65535) -> np.ndarray:
    """Scale values in 0..highest to 0..255, with rounding."""
    # In uint32, because values of 16 bits times 255 need 24 bits.
    return ((array.astype(np.uint32) * 255 + highest // 2) // highest).astype(np.uint8)


def on_white(image: Image.Image) -> Image.Image:
    """Blend an image that has transparency with a white background, and return it as RGB."""
    result = Image.new("RGB", image.size)
    for box in boxes(image.size):
        part = image.crop(box).convert("RGBA")
        background = Image.new("RGBA", part.size, "white")
        result.paste(Image.alpha_composite(background, part).convert("RGB"), box)
    return result


def boxes(size: tuple[int, int]) -> Iterator[Box]:
    """Divide a picture into parts, so that intermediate values of a huge one need no memory."""
    width, height = size
    for top in range(0, height, _SIDE_OF_A_BOX):
        for left in range(0, width, _SIDE_OF_A_BOX):
            right, bottom = left + _SIDE_OF_A_BOX, top + _SIDE_OF_A_BOX
            yield left, top, min(right, width), min(bottom, height)

"""Convert an array or tensor to an RGB picture, after checking its layout and values."""

import numpy as np
import torch
from PIL import Image

from sktransfer._common.warning import warn
from sktransfer.exceptions import ImageError, ImageWarning

_CHANNELS = (1, 3, 4)
# Resampling in float32 may exceed 0..1 by this much. It is far less than one grey level, 1/255.
_TOLERANCE = 1e-6


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


def tensor_to_array(tensor: torch.Tensor) -> np.ndarray:
    """Convert a tensor (c, h, w) or (h, w) of one picture to a channels-last array."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # NumPy has no bfloat16
        tensor = tensor.float()
    array = tensor.numpy()
    if array.ndim == 3:
        if array.shape[0] not in _CHANNELS:
            raise ImageError(
                f"A torch tensor must hold one picture as (3, h, w) or (1, h, w); got shape "
                f"{tuple(array.shape)}. Use tensor.permute(2, 0, 1), or tensor.numpy() for a "
                "channels-last array."
            )
        # A tiny square, such as (3, 4, 4), is read in torch's own layout.
        if array.shape[2] in _CHANNELS and array.shape[1] != array.shape[2]:
            _ambiguous(array.shape)
        array = array.transpose(1, 2, 0)
    return array


def check_layout(shape: tuple[int, ...], image_shape: tuple[int, ...] | None = None) -> None:
    """Raise unless `shape` is unambiguously that of one channels-last picture."""
    # The user's declaration overrules every guess below.
    if image_shape is not None and tuple(shape) == tuple(image_shape):
        return
    if len(shape) not in (2, 3):
        raise ImageError(
            "A picture is an array of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4); got "
            f"{shape}."
        )
    if 0 in shape:
        raise ImageError(f"A picture without pixels: got an array of shape {shape}.")
    if len(shape) == 2:
        return
    if shape[2] not in _CHANNELS:
        if shape[0] in _CHANNELS:
            raise ImageError(
                f"A NumPy picture is channels-last, (h, w, 3); got {shape}, which looks "
                "channels-first. Use array.transpose(1, 2, 0), or pass a torch tensor."
            )
        raise ImageError(
            f"A picture has 1, 3 or 4 channels in its last axis; got {shape[2]} (shape {shape})."
        )
    if shape[0] in _CHANNELS and shape[0] != shape[1]:
        _ambiguous(shape)


def _ambiguous(shape: tuple[int, ...]) -> None:
    raise ImageError(
        f"An array of shape {tuple(shape)} can be read as channels-first or channels-last. "
        "Pass a channels-last array, and declare its layout with image_shape=(h, w, c)."
    )


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Convert pixels to uint8, after checking that they lie in the range of their dtype."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating):
        return _float_to_uint8(array)
    if _is_uint16(array):
        return _uint16_to_uint8(array)
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


def _uint16_to_uint8(array: np.ndarray) -> np.ndarray:
    refuse_8_bit_values(int(without_alpha(array).max()))
    return scale_16_bit(array)


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
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(background, image).convert("RGB")

"""Read files of more than 8 bits per channel, on the scale that the file states."""

import re
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from sktransfer.exceptions import ImageError
from sktransfer.images.arrays import (
    Box,
    boxes,
    refuse_8_bit_values,
    scale_16_bit,
    to_uint8,
    warn_of_12_bit_values,
    without_alpha,
)

# TIFF tags.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION, _S_MAX_SAMPLE_VALUE = 258, 262, 284, 341
_WHITE_IS_ZERO = 0
_CHANNEL_BY_CHANNEL = 2
# Pillow's names for the 16-bit colour modes in a file. The last letter is the byte order: big,
# little or native.
_16_BIT_COLOUR = re.compile(r"(?P<channels>LA|RGB|RGBA|RGBX);16(?P<order>[BLN])")


def refuse_separate_channels(image: Image.Image) -> None:
    """Raise if an image is a TIFF of more than 8 bits with separate planes for its channels.

    Pillow takes each byte of these for a value, or cuts the values to 8 bits.
    """
    tags = _tags(image)
    bits = tags.get(_BITS_PER_SAMPLE, ())
    separate = tags.get(_PLANAR_CONFIGURATION) == _CHANNEL_BY_CHANNEL
    if separate and len(bits) > 1 and max(bits) > 8:
        raise ImageError(
            f"A TIFF of {max(bits)} bits with separate planes for its channels "
            "(PlanarConfiguration=2) can't be read. Save it with interleaved channels, or pass an "
            "array."
        )


def grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale a single channel of 12 or 16 bits, or of floats, to 8 bits.

    Returns
    -------
    PIL.Image.Image
        Mode "L", or "LA" if the file declares a value as transparent.
    """

    # Pillow's own convert("L") clips such values at 255 instead of scaling them.
    def values(box: Box) -> np.ndarray:
        return np.asarray(image.crop(box))

    scale = to_uint8 if image.mode == "F" else _stated_scale(image, values)
    # Pillow inverts such images itself, but only up to 8 bits.
    is_negative = _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    result = Image.new("L", image.size)
    for box in boxes(image.size):
        pixels = scale(values(box))
        result.paste(Image.fromarray(255 - pixels if is_negative else pixels), box)
    result.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    opacity = _opacity(image, values)
    if opacity is not None:
        result.putalpha(opacity)
    return result


def colour_to_8_bits(image: Image.Image) -> Image.Image | None:
    """Scale several channels of 16 bits to 8 bits.

    Pillow keeps only the high byte of each value, which truncates where arrays are rounded.
    Therefore the file is decoded twice, the second time with the byte order reversed, which
    gives the low bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        Opened from a file, and not decoded yet.

    Returns
    -------
    PIL.Image.Image or None
        None if the file does not have several channels of 16 bits.

    Raises
    ------
    ImageError
        If the channels are in separate planes.
    """
    refuse_separate_channels(image)
    stored = [_16_BIT_COLOUR.fullmatch(_raw_mode(tile)) for tile in getattr(image, "tile", [])]
    first = stored[0] if stored and all(stored) else None
    if first is None:
        return None
    values = _values(image, first["channels"], first["order"])
    scale, opacity = _stated_scale(image, values), _opacity(image, values)
    # Into the image itself, which saves memory: its high bytes alone are of no other use.
    for box in boxes(image.size):
        image.paste(Image.fromarray(scale(values(box))).convert(image.mode), box)
    image.info.pop("transparency", None)  # a colour of 16 bits
    if opacity is not None:
        image.putalpha(opacity)
    return image


def _values(image: Image.Image, channels: str, order: str) -> Callable[[Box], np.ndarray]:
    """A function that gives the 16-bit values (h, w, c) in a box of an image, which is decoded."""
    # The four bytes of such a pixel can be read at once, as four channels of 8 bits.
    if channels == "LA":
        _decoded_as(image, "RGBA")

        def of_two_channels(box: Box) -> np.ndarray:
            high_and_low = np.asarray(image.crop(box)).astype(np.uint16)
            return high_and_low[..., ::2] << 8 | high_and_low[..., 1::2]

        return of_two_channels
    order = order.replace("N", "L" if sys.byteorder == "little" else "B")
    other = "L" if order == "B" else "B"
    lows = _decoded_as(_opened_again(image), f"{channels};16{other}")
    image.load()

    def of_colours(box: Box) -> np.ndarray:
        return np.asarray(image.crop(box)).astype(np.uint16) << 8 | np.asarray(lows.crop(box))

    return of_colours


def _raw_mode(tile: Any) -> str:
    return tile.args if isinstance(tile.args, str) else str(tile.args[0])


def _decoded_as(image: Image.Image, raw_mode: str) -> Image.Image:
    """Make Pillow decode the bytes of `image` as those of another raw mode."""
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    image.load()
    return image


def _opened_again(image: Image.Image) -> Image.Image:
    # From the open file, because another file may have its name by now.
    file = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    again = Image.open(BytesIO(file.read()), formats=[str(image.format)])
    file.seek(position)
    return again


def _stated_scale(
    image: Image.Image, values: Callable[[Box], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that scales values to uint8, from the bits that a TIFF's tags state, or else 16.

    `values` gives those in a box of the image.
    """
    bits = _stated_bits(image)
    highest = max(int(without_alpha(values(box)).max()) for box in boxes(image.size))
    # The tags state nothing, more than 16 bits, or less than the values need, so the values
    # themselves must show if their scale is really 16 bits.
    if bits >= 16 or highest >= 2**bits:
        bits = 16
        refuse_8_bit_values(highest)
        warn_of_12_bit_values(highest)
    return partial(scale_16_bit, highest=2**bits - 1)


def _stated_bits(image: Image.Image) -> int:
    tags = _tags(image)
    bits = _largest(tags.get(_BITS_PER_SAMPLE)) or 16
    # Some writers put the camera's maximum into this tag, and others that of the pixels. Its
    # number of bits is the same for both, unless the picture is dark.
    largest = _largest(tags.get(_S_MAX_SAMPLE_VALUE))
    return min(bits, max(8, largest.bit_length())) if largest else bits


def _largest(value: Any) -> int | None:
    """Return the largest number in a tag, or None if the tag is missing or malformed."""
    try:
        largest = int(max(value))
    except (TypeError, ValueError):
        return None
    return largest if largest > 0 else None


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _opacity(image: Image.Image, values: Callable[[Box], np.ndarray]) -> Image.Image | None:
    """An image that is 0 where `values` are the transparent colour of the metadata, and else 255.

    None if the metadata declare none.
    """
    clear = image.info.get("transparency")  # one value, or one for each channel
    if clear is None:
        return None
    result = Image.new("L", image.size, 255)
    for box in boxes(image.size):
        pixels = np.atleast_3d(values(box))
        if np.size(clear) == pixels.shape[2]:
            alpha = np.where((pixels == clear).all(axis=2), 0, 255).astype(np.uint8)
            result.paste(Image.fromarray(alpha), box)
    return result

"""Pictures of more than 8 bits a channel: all their bits, on the scale that their file states."""

import re
import sys
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from sktransfer.exceptions import ImageError
from sktransfer.images.arrays import (
    colours,
    refuse_8_bit_values,
    scale_16_bit,
    to_uint8,
    warn_of_12_bit_values,
)

# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION, _S_MAX_SAMPLE_VALUE = 258, 262, 284, 341
_WHITE_IS_ZERO = 0
_CHANNEL_BY_CHANNEL = 2
# How Pillow names 16-bit channels in a file, and the order of their bytes.
_16_BIT_COLOUR = re.compile(r"(?P<channels>LA|RGB|RGBA|RGBX);16(?P<order>[BLN])")


def refuse_separate_channels(image: Image.Image) -> None:
    """Raise where a TIFF holds several channels of more than 8 bits one after the other.

    Pillow reads their bytes as twice as many values, or cuts them to 8 bits.
    """
    tags = _tags(image)
    bits = tags.get(_BITS_PER_SAMPLE, ())
    separate = tags.get(_PLANAR_CONFIGURATION) == _CHANNEL_BY_CHANNEL
    if separate and len(bits) > 1 and max(bits) > 8:
        raise ImageError(
            f"A TIFF of {max(bits)} bits whose channels lie one after the other (its "
            "PlanarConfiguration is 2) can't be read. Save it with the channels of each pixel "
            "together, or give an array."
        )


def grey_to_8_bits(image: Image.Image) -> Image.Image:
    """One channel of 12 or 16 bits, or of floats, as "L", or "LA" where a value is transparent.

    Pillow's own ``convert("L")`` clips such values at 255 instead of scaling them.
    """
    values = np.asarray(image)
    pixels = to_uint8(values) if image.mode == "F" else _on_stated_scale(image, values)
    if _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # which Pillow minds up to 8 bits only
        pixels = 255 - pixels
    return _finished(image, values, pixels)


def colour_to_8_bits(image: Image.Image) -> Image.Image | None:
    """Several channels of 16 bits; None if the file of `image` holds something else.

    Pillow keeps the high byte of each value, cutting where arrays are rounded. So the
    file is decoded twice, the second time as if its bytes came in the other order, which
    gives the low bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        Opened from a file, and not decoded yet.

    Raises
    ------
    ImageError
        If the channels lie one after the other.
    """
    refuse_separate_channels(image)
    stored = [_16_BIT_COLOUR.fullmatch(_raw_mode(tile)) for tile in getattr(image, "tile", [])]
    first = stored[0] if stored and all(stored) else None
    if first is None:
        return None
    if first["channels"] == "LA":  # four bytes a pixel: Pillow can hand on all of them
        high_and_low = np.asarray(_decoded_as(image, "RGBA"))
        high, low = high_and_low[..., ::2], high_and_low[..., 1::2]
    else:
        order = first["order"].replace("N", "L" if sys.byteorder == "little" else "B")
        other = "L" if order == "B" else "B"
        low = np.asarray(_decoded_as(_opened_again(image), f"{first['channels']};16{other}"))
        high = np.asarray(image)
    values = high.astype(np.uint16) << 8 | low
    return _finished(image, values, _on_stated_scale(image, values))


def _raw_mode(tile: Any) -> str:
    return tile.args if isinstance(tile.args, str) else str(tile.args[0])


def _decoded_as(image: Image.Image, raw_mode: str) -> Image.Image:
    """The same, its bytes taken for those of another mode when it is decoded."""
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    return image


def _opened_again(image: Image.Image) -> Image.Image:
    # From the same open file, as another may have taken its name by now.
    file = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    again = Image.open(BytesIO(file.read()), formats=[str(image.format)])
    file.seek(position)
    return again


def _on_stated_scale(image: Image.Image, values: np.ndarray) -> np.ndarray:
    """Values as uint8, from the number of bits that a TIFF's tags state, or else from 16."""
    bits = _stated_bits(image)
    highest = int(colours(values).max())
    if bits == 16 or highest >= 2**bits:  # nothing stated, or something wrong
        bits = 16
        refuse_8_bit_values(highest)
        warn_of_12_bit_values(highest)
    return scale_16_bit(values, 2**bits - 1)


def _stated_bits(image: Image.Image) -> int:
    tags = _tags(image)
    bits = _largest(tags.get(_BITS_PER_SAMPLE)) or 16
    # The largest value is stated of the pixels or of the camera: what tells is its bits.
    largest = _largest(tags.get(_S_MAX_SAMPLE_VALUE))
    return min(bits, max(8, largest.bit_length())) if largest else bits


def _largest(value: Any) -> int | None:
    """The largest of a tag's numbers, if it is of positive numbers as it should be."""
    try:
        largest = int(max(value))
    except (TypeError, ValueError):
        return None
    return largest if largest > 0 else None


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _finished(image: Image.Image, values: np.ndarray, pixels: np.ndarray) -> Image.Image:
    """An image of `pixels` with the transparency and the orientation of another."""
    clear = image.info.get("transparency")  # one value, or one for each channel
    if clear is not None and np.size(clear) == (1 if values.ndim == 2 else values.shape[2]):
        alpha = np.where((np.atleast_3d(values) == clear).all(axis=2), 0, 255).astype(np.uint8)
        pixels = np.dstack([pixels, alpha])
    result = Image.fromarray(pixels)
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    result.getexif()[ExifTags.Base.Orientation] = orientation
    return result

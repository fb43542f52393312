"""What one reading of each picture tells: errors, sizes, digests, and facts about its file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageStat

from sktransfer._common.threads import in_reading_threads
from sktransfer.exceptions import ImageError
from sktransfer.images.decoding import DAMAGE, FORMATS
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.data_checks.difference_hash import difference_hash

# Side of the small grey picture whose spread tells if there is anything to see. Averages over its
# fields hide the noise of a camera, and keep a drawing of thin lines.
_SMALL = 32
# Noise of three channels is so much weaker in their grey average.
_GREY_NOISE = 1.5
# Standard deviation of single pixels that the noise of a camera does not reach: a fine pattern.
_PATTERN = 40.0


@dataclass(frozen=True)
class PictureFacts:
    """What is known of one picture without a network.

    Parameters
    ----------
    name : str
        How findings refer to it: by its path, or by its row.
    path : str or None
    error : str or None
        Why it can't be read; all that follows is then empty.
    digest : bytes
        SHA-256 of its decoded pixels.
    size : (int, int)
        Width and height in pixels, upright.
    spread : float
        Standard deviation of the values (0..255), averaged over the fields of a coarse grid.
    is_plain : bool
        Whether all pixels are equal.
    hashes : (int, int)
        Difference hashes of the picture and of its mirror image.
    file_format, camera : str or None
        "JPEG" and so on; maker and model in EXIF.
    """

    name: str
    path: str | None
    error: str | None = None
    digest: bytes = b""
    size: tuple[int, int] = (0, 0)
    spread: float = 0.0
    is_plain: bool = False
    hashes: tuple[int, int] = (0, 0)
    file_format: str | None = None
    camera: str | None = None


def facts_of(source: ImageSource, names: Sequence[str]) -> list[PictureFacts]:
    """Read all pictures in threads, each once, and keep a few facts of each.

    Parameters
    ----------
    source : ImageSource
    names : sequence of str
        How findings refer to each of them.
    """
    return in_reading_threads(lambda row: _facts(source, row, names[row]), range(len(source)))


def _facts(source: ImageSource, row: int, name: str) -> PictureFacts:
    item = source.items[row]
    path = os.fspath(item) if isinstance(item, str | os.PathLike) else None
    try:
        picture = source.read(row)
    except ImageError as error:
        # `read` begins with the row and path, which a finding names by itself.
        return PictureFacts(name, path, error=str(error).removeprefix(f"{source.describe(row)}: "))
    # Afterwards: `read` has decoded a PIL image under a lock, which reading its EXIF may do too.
    file_format, camera = _about_file(item, picture)
    pixels = np.ascontiguousarray(picture)
    sha = hashlib.sha256(f"{pixels.shape}".encode())
    sha.update(pixels.data)
    grey, channels = _grey(pixels), _channels(pixels)
    return PictureFacts(
        name,
        path,
        digest=sha.digest(),
        size=grey.size,
        spread=_spread(grey, channels),
        is_plain=all(low == high for low, high in (each.getextrema() for each in channels)),
        hashes=difference_hash(grey),
        file_format=file_format,
        camera=camera,
    )


def _grey(pixels: np.ndarray) -> Image.Image:
    """A grey picture of pixels (h, w, c), of any number of channels."""
    if pixels.shape[2] == 3:
        return Image.fromarray(pixels).convert("L")
    return Image.fromarray(pixels.mean(axis=2).astype(np.uint8))


def _channels(pixels: np.ndarray) -> list[Image.Image]:
    """A grey picture of each channel of pixels (h, w, c)."""
    return [Image.fromarray(np.ascontiguousarray(pixels[..., k])) for k in range(pixels.shape[2])]


def _spread(grey: Image.Image, channels: Sequence[Image.Image]) -> float:
    """Of the grey values; or of a channel, for colours of one grey; or of a very fine pattern."""
    coloured = max(map(_coarse_spread, channels)) / _GREY_NOISE
    fine = max(ImageStat.Stat(each).stddev[0] for each in channels) - _PATTERN
    return max(_coarse_spread(grey), coloured, fine)


def _coarse_spread(image: Image.Image) -> float:
    small = (min(_SMALL, image.width), min(_SMALL, image.height))
    return float(np.asarray(image.resize(small, Image.Resampling.BOX), dtype=np.float64).std())


def _about_file(item: Any, picture: Any) -> tuple[str | None, str | None]:
    """Format and camera of a picture that is a file, or was read from one, as `picture`."""
    if isinstance(item, Image.Image):
        return item.format, _camera(item)
    # What is wrong with a file is told by `read`.
    with suppress(*DAMAGE, Image.DecompressionBombError, Image.DecompressionBombWarning):
        if isinstance(item, str | os.PathLike) and os.path.isfile(item):
            with Image.open(item, formats=FORMATS) as image:
                return image.format, _camera(image) or _camera(picture)
    return None, None


def _camera(image: Any) -> str | None:
    try:
        # The method of a PNG decodes all of it again, in search of EXIF behind its pixels, which a
        # picture has that was read from it.
        exif = Image.Image.getexif(image)
        texts = [exif.get(tag) for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    except (*DAMAGE, AttributeError, KeyError):
        return None
    words = " ".join(str(text).replace("\0", " ").strip() for text in texts if text)
    return words or None


def readable(facts: Sequence[PictureFacts]) -> list[int]:
    """Positions of the pictures that can be read."""
    return [position for position, each in enumerate(facts) if each.error is None]

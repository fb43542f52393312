"""Decode a file or PIL image to an RGB picture, from any colour mode of Pillow."""

import errno
import os
import re
import struct
from pathlib import Path

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from sktransfer._common.warning import warn
from sktransfer.exceptions import ImageError, ImageWarning, UnreadableImageError
from sktransfer.images.arrays import on_white
from sktransfer.images.high_depth import (
    colour_to_8_bits,
    grey_to_8_bits,
    refuse_separate_channels,
)
from sktransfer.images.jpeg_scans import refuse_many_scans

# An allow-list, because Pillow also opens formats that run interpreters (EPS) or that no
# camera writes, and each parser is one more that a hostile file can attack. JPEG includes the
# MPO files of many phones. Importing a plugin registers its format.
_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    GifImagePlugin.GifImageFile,
    BmpImagePlugin.BmpImageFile,
    TiffImagePlugin.TiffImageFile,
)
FORMATS = tuple(plugin.format for plugin in _PLUGINS)
_JPEG_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif")
EXTENSIONS = (*_JPEG_EXTENSIONS, ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_FIRST_BYTES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a"
    # Two bytes are too few to identify a BMP, so the length of its header must be valid too.
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0",
    re.DOTALL,
)
_FIRST_BYTES_OF_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow's parsers raise various exceptions for damaged files, depending on the format. Their
# warnings about damage are exceptions as well, where the user has made warnings errors.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error),
    *(AssertionError, OverflowError, Warning),
)
# The process or the system has no file handles or memory left: the file may be sound, and must
# not be skipped as damaged.
_NO_FAULT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


# By the orientation in EXIF; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_file(path: str | os.PathLike[str]) -> Image.Image:
    """Read one picture from disk.

    Parameters
    ----------
    path : str or path-like
        A JPEG, PNG, WebP, GIF, BMP or TIFF file. If it has several frames or pages, the first
        one is read, with a warning.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB", rotated according to its EXIF orientation. Transparency is blended with
        white, and 16-bit values are scaled to 8 bits.

    Raises
    ------
    UnreadableImageError
        If the file does not exist, or can't be read as one of these formats.
    ImageError
        If the path is not a regular file, or the picture has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS``. The header is checked before decoding.
    """
    check_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_pixel_limit(image.size)
            _warn_of_more_frames(image)
            return pil_to_rgb(colour_to_8_bits(image) or image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own message gives twice the limit, where it raises instead of warning.
        raise ImageError(
            f"The picture has more pixels than the limit of {Image.MAX_IMAGE_PIXELS:,}. "
            f"{_PIXEL_LIMIT_HINT}"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"The file is empty, damaged, or none of {', '.join(FORMATS)}."
        ) from error
    except (ImageError, ImageWarning):
        raise
    except DAMAGE as error:
        if getattr(error, "errno", None) in _NO_FAULT_OF_THE_FILE:
            raise
        raise UnreadableImageError(f"The file can't be decoded: {error}.") from error


def is_picture_file(path: Path) -> bool:
    """Return True if the extension, or else the first bytes, are those of a picture."""
    if path.suffix.lower() in EXTENSIONS:
        return True
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    # Raw files of cameras have the first bytes of a TIFF, and names such as "a.nef".
    is_tiff = not path.suffix and start.startswith(_FIRST_BYTES_OF_TIFF)
    return is_tiff or _FIRST_BYTES.match(start) is not None


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise unless `path` is a regular file. The file is not opened."""
    if os.path.isfile(path):
        return
    if os.path.isdir(path):
        raise ImageError(
            "This path is a folder. Pass the files in it; load_image_folder(path) lists them."
        )
    if os.path.exists(path):  # reading a named pipe could wait forever
        raise ImageError("This path is neither a file nor a folder. Pass regular files.")
    raise UnreadableImageError("There is no such file.")


_PIXEL_LIMIT_HINT = (
    "Larger pictures are refused before decoding, because a small file can unpack to "
    "gigabytes. Set PIL.Image.MAX_IMAGE_PIXELS to allow more."
)


def check_pixel_limit(size: tuple[int, int]) -> None:
    """Raise if a picture of this size has more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        raise ImageError(
            f"The picture has {size[0]} x {size[1]} pixels, more than the limit of "
            f"{limit:,}. {_PIXEL_LIMIT_HINT}"
        )


def _warn_of_more_frames(image: Image.Image) -> None:
    # `is_animated` would read through all pages of a TIFF to count them. The second picture in
    # a phone's JPEG (MPO) is not a frame but another view or a depth map.
    if image.format == "TIFF":
        more = image.tag_v2.next != 0  # type: ignore[attr-defined]
    else:
        more = image.format != "MPO" and getattr(image, "is_animated", False)
    if more:
        # The text does not name the file: Python's filter then shows it once, and not once per
        # file.
        warn(
            "Only the first frame or page is used of a file that has several.",
            ImageWarning,
        )


def pil_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an opened PIL image to RGB, rotated according to its EXIF orientation.

    The image itself is not changed, except that it is decoded.

    Raises
    ------
    ImageError
        If the image is closed, if the range of its values is not defined, if it is a TIFF that
        Pillow would misread, or a JPEG that would take very long.
    """
    refuse_separate_channels(image)
    if 0 in image.size:
        raise ImageError(f"A picture without pixels: got a PIL image of size {image.size}.")
    refuse_many_scans(image)
    _load(image)
    if image.mode.startswith("I;16") or image.mode == "F":
        image = grey_to_8_bits(image)
    image = _upright(image)
    if image.mode == "I":
        raise ImageError(
            "32-bit integer pixels (PIL mode 'I') have no defined range. Scale them to "
            "0..255 and convert to uint8, or save as 16-bit."
        )
    if image.has_transparency_data:
        return on_white(image)
    # A plain RGB image needs no copy, because nothing downstream writes to it.
    return image if image.mode == "RGB" else image.convert("RGB")


def _load(image: Image.Image) -> None:
    """Decode an image, and do not map its file into memory.

    Pillow maps uncompressed files that it has opened by name. It takes the width of a TIFF that
    is turned by a quarter for that of its rows, which mixes up its pixels; and reading from the
    map ends the process if another one cuts the file short.
    """
    filename = getattr(image, "filename", "")
    image.filename = ""  # type: ignore[attr-defined]
    try:
        image.load()
    finally:
        image.filename = filename  # type: ignore[attr-defined]


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, if there is one."""
    # Not by exif_transpose, which copies an image that is upright, and writes all EXIF entries
    # anew, where damaged ones fail.
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)

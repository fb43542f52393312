"""One file or PIL image -> one RGB picture, in every colour mode that Pillow knows."""

import os
import re
import struct
from pathlib import Path

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageOps,
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

# An allow-list: Pillow also opens formats that run interpreters (EPS) or that no
# camera writes, and each is one more parser facing hostile files. JPEG includes the
# MPO of many phones. Importing a plugin registers its format.
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
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0",  # the last, a BMP's length of header
    re.DOTALL,
)
_FIRST_BYTES_OF_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow's parsers raise whatever their format's code does on damaged bytes.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)


def decode_file(path: str | os.PathLike[str]) -> Image.Image:
    """Read one picture from disk.

    Parameters
    ----------
    path : str or path-like
        A JPEG, PNG, WebP, GIF, BMP or TIFF file. Of several frames or pages the first is
        read, with a warning.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB", turned upright by its EXIF orientation, transparency on white,
        16-bit values scaled to 8 bits.

    Raises
    ------
    UnreadableImageError
        If there is no such file, or it can't be read as one of these formats.
    ImageError
        If the path is no regular file, or the picture has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS`` (checked from the header, before decoding).
    """
    check_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_pixel_limit(image.size)
            _warn_of_more_frames(image)
            return pil_to_rgb(colour_to_8_bits(image) or image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own text names twice the limit where it raises instead of warning.
        raise ImageError(
            f"The picture has more pixels than the limit of {Image.MAX_IMAGE_PIXELS:,}. "
            f"{_PIXEL_LIMIT_HINT}"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"The file is empty, damaged, or none of {', '.join(FORMATS)}."
        ) from error
    except ImageError:
        raise
    except DAMAGE as error:
        raise UnreadableImageError(f"The file can't be decoded: {error}.") from error


def is_picture_file(path: Path) -> bool:
    """Whether a file is a picture by its extension, or else by its first bytes.

    The raw files of cameras begin as a TIFF does; so the bytes of one count only where the
    name has no extension.
    """
    if path.suffix.lower() in EXTENSIONS:
        return True
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    is_tiff = not path.suffix and start.startswith(_FIRST_BYTES_OF_TIFF)
    return is_tiff or _FIRST_BYTES.match(start) is not None


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise unless there is a regular file at `path`, without opening it."""
    if os.path.isfile(path):
        return
    if os.path.isdir(path):
        raise ImageError(
            "This path is a folder. Pass the files in it; load_image_folder(path) lists them."
        )
    if os.path.exists(path):  # a named pipe would keep its reader waiting for ever
        raise ImageError("This path is neither a file nor a folder. Pass regular files.")
    raise UnreadableImageError("There is no such file.")


_PIXEL_LIMIT_HINT = (
    "Larger pictures are refused before decoding, because a small file can unpack to "
    "gigabytes. Set PIL.Image.MAX_IMAGE_PIXELS to allow more."
)


def check_pixel_limit(size: tuple[int, int]) -> None:
    """Raise if a picture of this size is above ``PIL.Image.MAX_IMAGE_PIXELS``."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        raise ImageError(
            f"The picture has {size[0]} x {size[1]} pixels, more than the limit of "
            f"{limit:,}. {_PIXEL_LIMIT_HINT}"
        )


def _warn_of_more_frames(image: Image.Image) -> None:
    # A TIFF's pages are not counted, which would read through all of them. The second
    # picture in the JPEG of a phone is no frame but a view or a map of depth.
    if image.format == "TIFF":
        more = image.tag_v2.next != 0  # type: ignore[attr-defined]
    else:
        more = image.format != "MPO" and getattr(image, "is_animated", False)
    if more:
        # One text for all files: Python's filter then shows it once, not once a file.
        warn(
            "Of a file with several frames or pages, only the first frame or page is used.",
            ImageWarning,
        )


def pil_to_rgb(image: Image.Image) -> Image.Image:
    """Turn an opened PIL image upright and into RGB, leaving the original as it is.

    Raises
    ------
    ImageError
        If the image is closed, its mode has no defined range of values, or Pillow misreads it.
    """
    refuse_separate_channels(image)
    if 0 in image.size:
        raise ImageError(f"A picture without pixels: got a PIL image of size {image.size}.")
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
    # A plain RGB image is decoded, not copied: nothing downstream writes to it.
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, if there is one."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:  # skips a copy for most pictures
        return image
    return ImageOps.exif_transpose(image)

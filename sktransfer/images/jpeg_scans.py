"""Refuse JPEG files of very many scans, which take minutes to decode."""

import re

from PIL import Image

from sktransfer.exceptions import ImageError

# Each scan refines all pixels, even one of a few bytes, and libjpeg has no limit: 20,000 of them,
# a file of half a megabyte, take two minutes at the largest size. Encoders write ten or fewer,
# those that search for the best division a few dozens.
_MAX_SCANS = 200
_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = 0xD9
# Within a scan, a byte 0xff is followed by 0, by a restart marker, or by more padding.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def refuse_many_scans(image: Image.Image) -> None:
    """Raise if an image is a JPEG of more than 200 scans that is not decoded yet.

    Raises
    ------
    ImageError
    """
    file = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or file is None or not getattr(image, "tile", None):
        return
    position = file.tell()
    file.seek(0)
    contents = file.read()
    file.seek(position)
    # The quick count includes what follows the picture, such as a video.
    if contents.count(_START_OF_SCAN) > _MAX_SCANS and _n_scans(contents) > _MAX_SCANS:
        raise ImageError(
            f"The JPEG has more than {_MAX_SCANS} scans and would take very long to decode. "
            "Save it again with another program if you trust it."
        )


def _n_scans(contents: bytes) -> int:
    """Number of scans up to the end of the first picture."""
    n, place = 0, 2
    while (marker := _MARKER.search(contents, place)) and contents[marker.end() - 1] != (
        _END_OF_IMAGE
    ):
        n += marker[0] == _START_OF_SCAN
        # The segments may hold pictures themselves, such as a thumbnail.
        length = contents[marker.end() : marker.end() + 2]
        place = marker.end() + max(int.from_bytes(length, "big"), 2)
    return n

"""Read the size of a picture from its header, with no code of Pillow.

Each function follows the format's specification, and returns None where the header is too damaged.
"""

import struct
from collections.abc import Callable

Size = tuple[int, int]


def size_in_header(data: bytes) -> Size | None:
    """Width and height that a file states, before any rotation by its EXIF orientation.

    Returns
    -------
    tuple of int, or None
        None if the file has no header of a known format.
    """
    for start, size in _FORMATS.items():
        if data.startswith(start):
            try:
                return size(data)
            except (struct.error, IndexError):
                return None
    return None


def _png(data: bytes) -> Size | None:
    size, place = None, 8
    while data[place + 4 : place + 8] not in (b"IDAT", b""):
        if data[place + 4 : place + 8] == b"IHDR":  # a header that is repeated replaces the first
            size = struct.unpack_from(">II", data, place + 8)
        place += 12 + struct.unpack_from(">I", data, place)[0]
    return size


def _gif(data: bytes) -> Size:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + _colour_table(flags)
    while data[place] != 0x2C:  # an image
        if data[place] == 0x3B:
            return width, height
        if data[place] == 0x21:  # an extension, in blocks
            place += 2
            while data[place]:
                place += 1 + data[place]
        place += 1
    # All readers make the screen larger for a first frame that does not fit.
    left, top, its_width, its_height = struct.unpack_from("<HHHH", data, place + 1)
    return max(width, left + its_width), max(height, top + its_height)


def _colour_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp(data: bytes) -> Size | None:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative from top to bottom


def _jpeg(data: bytes) -> Size | None:
    place = 2
    while True:
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in (0x01, 0xD8, *range(0xD0, 0xD8)):  # markers without content
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        if marker in (0xD9, 0xDA):  # the end, or pixels without a size
            return None
        place += 2 + length


def _webp(data: bytes) -> Size | None:
    if data[8:12] != b"WEBP":
        return None
    kind, content = data[12:16], data[20:]
    if kind == b"VP8X":
        return _plus_one(content[4:7]), _plus_one(content[7:10])
    if kind == b"VP8L" and content[0] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _plus_one(three_bytes: bytes) -> int:
    return int.from_bytes(three_bytes, "little") + 1


def _tiff(data: bytes) -> Size | None:
    order = "<" if data[:2] == b"II" else ">"
    is_big = 43 in (data[2], data[3])
    header, count, entry = ("Q", "Q", "HHQQ") if is_big else ("I", "H", "HHII")
    (place,) = struct.unpack_from(order + header, data, 8 if is_big else 4)
    (n_entries,) = struct.unpack_from(order + count, data, place)
    place += struct.calcsize(order + count)
    width_of_value = 8 if is_big else 4
    sides: dict[int, int] = {}
    for number in range(n_entries):
        at = place + number * struct.calcsize(order + entry)
        tag, kind, values, _ = struct.unpack_from(order + entry, data, at)
        form = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}.get(kind)
        if tag in (256, 257) and form and values == 1:
            value = at + struct.calcsize(order + entry) - width_of_value
            sides.setdefault(tag, *struct.unpack_from(order + form, data, value))
    return (sides[256], sides[257]) if len(sides) == 2 else None


_FORMATS: dict[bytes, Callable[[bytes], Size | None]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"RIFF": _webp,
    b"GIF8": _gif,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
}

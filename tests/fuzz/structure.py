"""Take JPEG, PNG and WebP files apart, change their parts, and put them together again.

Lengths and checksums are right afterwards, so that a change gets past the first checks.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tests.fuzz.mutations import changed
from tests.fuzz.tiff_entries import changed_entries


class Part(NamedTuple):
    """A segment of a JPEG, or a chunk of a PNG or WebP."""

    name: bytes
    content: bytes


class Structure(NamedTuple):
    """How the files of a format are taken apart and put together."""

    start: bytes
    split: Callable[[bytes], list[Part]]
    join: Callable[[Sequence[Part]], bytes]
    size: bytes  # names of the parts that begin with a header
    compressed: tuple[bytes, ...] = ()


def _split_jpeg(data: bytes) -> list[Part]:
    parts, place = [], 2
    while data[place : place + 1] == b"\xff" and len(data) >= place + 4:
        (length,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + max(length, 2)
        if data[place + 1] == 0xDA:  # its pixels follow, up to the next marker
            while (end := data.find(b"\xff", end)) >= 0 and data[end + 1 : end + 2] in _IN_PIXELS:
                end += 2
            end = len(data) if end < 0 else end
        parts.append(Part(data[place + 1 : place + 2], data[place + 4 : end]))
        place = end
    return [*parts, Part(b"", data[place:])]


_IN_PIXELS = (b"\0", *(bytes([number]) for number in range(0xD0, 0xD8)))


def _join_jpeg(parts: Sequence[Part]) -> bytes:
    result = [b"\xff\xd8"]
    for name, content in parts:
        if not name:
            result.append(content)
            continue
        # The length of a scan is that of its header, and not of its pixels.
        length = 6 + 2 * content[0] if name == b"\xda" and content else len(content) + 2
        result.append(b"\xff" + name + struct.pack(">H", min(length, 65535)) + content)
    return b"".join(result)


def _split_png(data: bytes) -> list[Part]:
    parts, place = [], 8
    while len(data) >= place + 8:
        (length,) = struct.unpack_from(">I", data, place)
        parts.append(Part(data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return parts


def _join_png(parts: Sequence[Part]) -> bytes:
    chunks = (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _split_webp(data: bytes) -> list[Part]:
    parts, place = [], 12
    while len(data) >= place + 8:
        (length,) = struct.unpack_from("<I", data, place + 4)
        parts.append(Part(data[place : place + 4], data[place + 8 : place + 8 + length]))
        place += 8 + length + length % 2
    return parts


def _join_webp(parts: Sequence[Part]) -> bytes:
    chunks = b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for name, content in parts
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


STRUCTURES = (
    Structure(b"\xff\xd8\xff", _split_jpeg, _join_jpeg, b"\xc0\xc1\xc2"),
    Structure(
        b"\x89PNG", _split_png, _join_png, b"IHDR fcTL", (b"IDAT", b"iCCP", b"zTXt", b"fdAT")
    ),
    Structure(b"RIFF", _split_webp, _join_webp, b"VP8X VP8L ANMF"),
)


def structure_of(data: bytes) -> Structure | None:
    """The structure of a file's format, if it is one of those known here."""
    return next((each for each in STRUCTURES if data.startswith(each.start)), None)


def changed_parts(rng: Random, data: bytes, other: bytes) -> bytes:
    """Return a file with one change among its parts; some come from `other`.

    Files of other formats than those known here are returned as they are.
    """
    structure = structure_of(data)
    parts = structure.split(data) if structure else []
    if structure is None or not parts:
        return data
    place = rng.randrange(len(parts))
    change = rng.randrange(8)
    if change == 0:
        del parts[place]
    elif change == 1:
        parts[place:place] = [parts[place]] * rng.choice((1, 1, 3, 100))
    elif change == 2:
        elsewhere = rng.randrange(len(parts))
        parts[place], parts[elsewhere] = parts[elsewhere], parts[place]
    elif change == 3:
        others = structure.split(other) if other.startswith(structure.start) else parts
        parts.insert(place, rng.choice(others or parts))
    elif change == 4:
        parts[place] = parts[place]._replace(name=rng.choice(parts).name)
    else:
        parts[place] = _changed_content(rng, structure, parts[place])
    return structure.join(parts)


def _changed_content(rng: Random, structure: Structure, part: Part) -> Part:
    name, content = part
    exif = content.find(b"Exif\0\0")
    if exif >= 0 or name in (b"eXIf", b"EXIF"):
        start = exif + 6 if exif >= 0 else 0
        return Part(name, content[:start] + changed_entries(rng, content[start:]))
    if name in structure.compressed and rng.random() < 0.5:
        return Part(name, _changed_when_unpacked(rng, content))
    if name and name in structure.size and content:  # a header: small numbers, each of which counts
        place = rng.randrange(len(content))
        byte = rng.choice((0, 1, 2, 3, 4, 8, 16, 255, rng.randrange(256)))
        return Part(name, content[:place] + bytes([byte]) + content[place + 1 :])
    return Part(name, changed(rng, content))


def _changed_when_unpacked(rng: Random, content: bytes) -> bytes:
    # The name of a profile or text, and its method of compression, come before.
    start = next((at for at in range(len(content)) if content[at : at + 1] == b"\x78"), 0)
    try:
        unpacked = zlib.decompress(content[start:])
    except zlib.error:
        return changed(rng, content)
    return content[:start] + zlib.compress(changed(rng, unpacked), 1)

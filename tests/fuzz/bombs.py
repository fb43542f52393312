"""Small files that claim, or unpack to, far more than they hold."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.structure import STRUCTURES, Part, structure_of
from tests.images.test_high_depth import png

# A square of this side is just below Pillow's default limit of pixels.
LARGEST_SIDE = 9459
_SIDES = (0, 1, 2**14 - 1, 2**14, 65500, 65535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_PLACES = {b"GIF8": ("<HH", 6), b"BM": ("<II", 18)}


def claims_a_size(rng: Random, data: bytes) -> bytes:
    """Return a file with another size in its header, where its format is known here."""
    sides = rng.choices(_SIDES, k=2) if rng.random() < 0.7 else rng.choices(range(1, 40), k=2)
    if rng.random() < 0.002:
        sides = [LARGEST_SIDE, LARGEST_SIDE]
    structure = structure_of(data)
    if structure is not None:
        return structure.join([_of_size(part, sides) for part in structure.split(data)])
    result = bytearray(data)
    for start, (form, place) in _PLACES.items():
        if data.startswith(start) and len(data) >= place + struct.calcsize(form):
            longest = 256 ** (struct.calcsize(form) // 2) - 1
            struct.pack_into(form, result, place, *(min(side, longest) for side in sides))
    return bytes(result)


def _of_size(part: Part, sides: list[int]) -> Part:
    name, content = part
    if name == b"IHDR":
        return Part(name, struct.pack(">II", *sides) + content[8:])
    if name in (b"\xc0", b"\xc1", b"\xc2"):
        shorts = [min(side, 65535) for side in sides]
        return Part(name, content[:1] + struct.pack(">HH", *shorts) + content[5:])
    if name == b"VP8X":
        triples = [struct.pack("<I", min(max(side, 1), 2**24) - 1)[:3] for side in sides]
        return Part(name, content[:4] + b"".join(triples) + content[10:])
    return part


def bombs() -> Iterator[tuple[str, bytes]]:
    """Names and contents of files that hold the largest picture that is allowed, in a few bytes."""
    side = LARGEST_SIDE
    for kind, mode, options in _LARGE:
        file = BytesIO()
        Image.new(mode, (side, side)).save(file, kind, **options)
        yield f"{kind} {mode} {options}", file.getvalue()
    yield "JPEG of 20,000 scans", _of_many_scans(20_000, side)
    for channels in (1, 3, 4):
        yield f"PNG of 16 bits, {channels} channels", _png_of_16_bits(channels, side)


_TURNED = Image.Exif()
_TURNED[274] = 6
_LARGE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("PNG", mode, {"compress_level": 1}) for mode in ("1", "L", "LA", "RGB", "RGBA", "P")),
    ("PNG", "RGBA", {"compress_level": 1, "exif": _TURNED}),
    ("JPEG", "RGB", {"quality": 5}),
    ("JPEG", "CMYK", {"quality": 5, "exif": _TURNED}),
    ("JPEG", "RGB", {"quality": 5, "progressive": True, "exif": _TURNED}),
    ("WEBP", "RGB", {"method": 0}),
    ("WEBP", "RGBA", {"method": 0, "lossless": True, "quality": 0}),
    ("GIF", "P", {"transparency": 0}),
    ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "F", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_adobe_deflate", "exif": _TURNED}),
)


def _of_many_scans(n: int, side: int) -> bytes:
    """A progressive JPEG, each scan of which visits all pixels and changes none."""
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG", progressive=True, quality=5)
    structure = STRUCTURES[0]
    *parts, end = structure.split(file.getvalue())
    last = next(part for part in reversed(parts) if part.name == b"\xda")
    empty = Part(last.name, last.content[: 4 + 2 * last.content[0]] + b"\0")
    return structure.join([*parts, *[empty] * n, end])


def _png_of_16_bits(channels: int, side: int) -> bytes:
    data = png(np.zeros((1, 1, channels) if channels > 1 else (1, 1), np.uint16))
    structure = STRUCTURES[1]
    row = bytes(1 + 2 * channels * side)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return structure.join(
        [
            part._replace(content=pixels) if part.name == b"IDAT" else _of_size(part, [side, side])
            for part in structure.split(data)
        ]
    )

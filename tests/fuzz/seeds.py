"""Small files of all formats and modes, from which hostile ones are made."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.conftest import SHARED
from tests.images.test_high_depth import png, tiff

_SIZE = (19, 14)  # no square, so that a rotation shows
_ORIENTATION = 274
_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation='
    b'"6"/></rdf:RDF></x:xmpmeta>'
)


def seeds() -> list[bytes]:
    """Files that Pillow writes or that are written here, and small photos if they are at hand."""
    made = [*_jpegs(), *_pngs(), *_webps(), *_gifs(), *_bmps(), *_tiffs(), *_of_16_bits()]
    return [*made, *_photos()]


def _pixels() -> np.ndarray:
    x, y = np.meshgrid(np.arange(_SIZE[0]), np.arange(_SIZE[1]))
    noise = np.random.default_rng(0).integers(0, 24, (*_SIZE[::-1], 3))
    return (np.stack([x * 12, y * 16, x * y], axis=2) + noise).clip(0, 255).astype(np.uint8)


def _picture(mode: str) -> Image.Image:
    image = Image.fromarray(_pixels())
    if mode in ("RGBA", "LA"):
        image.putalpha(image.convert("L"))
    if mode == "F":
        return Image.fromarray(_pixels()[..., 0].astype(np.float32) / 255)
    if mode == "I;16":
        return Image.fromarray(_pixels()[..., 0].astype(np.uint16) * 257)
    return image.quantize(16) if mode == "P" else image.convert(mode)


def _saved(kind: str, mode: str = "RGB", image: Image.Image | None = None, **options: Any) -> bytes:
    file = BytesIO()
    (image or _picture(mode)).save(file, kind, **options)
    return file.getvalue()


def _exif(orientation: int = 6) -> Image.Exif:
    """EXIF with an orientation, and with directories within it."""
    exif = Image.Exif()
    exif[_ORIENTATION], exif[271], exif[306] = orientation, "maker", "2026:01:01 00:00:00"
    exif.get_ifd(0x8769).update({33434: 0.01, 36867: "2026:01:01 00:00:00", 37500: b"note" * 4})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return exif


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _frames() -> dict[str, Any]:
    images = [_picture("RGB").rotate(angle) for angle in (90, 180)]
    return {"save_all": True, "append_images": images, "duration": 40, "loop": 0}


def _jpegs() -> Iterator[bytes]:
    for mode in ("L", "RGB", "CMYK"):
        yield _saved("JPEG", mode)
        yield _saved("JPEG", mode, progressive=True, quality=95)
    yield _saved("JPEG", subsampling=0, quality=30, restart_marker_blocks=1)
    for orientation in range(1, 9):
        yield _saved("JPEG", exif=_exif(orientation))
    yield _saved("JPEG", icc_profile=_profile(), comment=b"a comment", dpi=(300, 300))
    yield _saved("JPEG", xmp=_XMP)
    yield _saved("JPEG", exif=_exif(), xmp=_XMP, icc_profile=_profile(), optimize=True)
    yield _saved("MPO", save_all=True, append_images=[_picture("RGB").rotate(90)])


def _pngs() -> Iterator[bytes]:
    for mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16"):
        yield _saved("PNG", mode)
    yield _saved("PNG", "P", transparency=bytes(range(0, 256, 16)))
    yield _saved("PNG", "RGB", transparency=(1, 2, 3))
    yield _saved("PNG", exif=_exif(8), icc_profile=_profile(), dpi=(72, 72))
    yield _saved("PNG", "P", bits=2)
    yield _saved("PNG", **_frames())
    yield _saved("PNG", "RGBA", **_frames(), disposal=2, blend=1)


def _webps() -> Iterator[bytes]:
    yield _saved("WEBP", quality=50)
    yield _saved("WEBP", lossless=True)
    yield _saved("WEBP", "RGBA", quality=20)
    yield _saved("WEBP", "RGBA", lossless=True, exact=True)
    yield _saved("WEBP", exif=_exif(5), icc_profile=_profile(), xmp=_XMP)
    yield _saved("WEBP", **_frames())


def _gifs() -> Iterator[bytes]:
    for mode in ("L", "P", "RGB", "RGBA"):
        yield _saved("GIF", mode)
    yield _saved("GIF", "P", transparency=3, interlace=0, comment=b"a comment")
    yield _saved("GIF", **_frames(), disposal=2)
    yield _saved("GIF", **_frames(), disposal=3, transparency=0)


def _bmps() -> Iterator[bytes]:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield _saved("BMP", mode)
    width, height = 8, 4
    rows = bytes(range(width * height))
    grey = b"".join(bytes([i, i, i, 0]) for i in range(256))
    yield _bmp(struct.pack("<IHHHH", 12, width, height, 1, 24), bytes(3) * width * height)
    for compression, bits, data in (
        (0, 8, rows),
        (1, 8, b"\x08\x05\0\0" * 2 + b"\0\x03\x01\x02\x03\0\0\x02\x01\x01\0\x01"),
        (2, 4, b"\x08\x51\0\0" * 3 + b"\0\x01"),
        (3, 16, rows * 2),
        (3, 32, rows * 4),
    ):
        for length in (40, 56, 108, 124):
            masks = struct.pack("<4I", *((0xFF0000, 0xFF00, 0xFF, 0xFF000000)))
            masks = struct.pack("<4I", 0x7C00, 0x3E0, 0x1F, 0) if bits == 16 else masks
            header = struct.pack(
                "<IiiHHIIiiII", length, width, -height if compression == 0 else height, 1, bits,
                *(compression, len(data), 2835, 2835, 0, 0),
            )  # fmt: skip
            if compression == 3 or length > 40:
                header = (header + masks).ljust(length, b"\0")
            yield _bmp(header, (grey if bits <= 8 else b"") + data, len(grey) if bits <= 8 else 0)


def _bmp(header: bytes, rest: bytes, before_pixels: int = 0) -> bytes:
    start = 14 + len(header) + before_pixels
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rest), 0, 0, start) + header + rest


def _tiffs() -> Iterator[bytes]:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "F", "I"):
        yield _saved("TIFF", mode)
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd"):
        yield _saved("TIFF", compression=compression)
    for mode in ("L", "RGB", "CMYK"):
        yield _saved("TIFF", mode, compression="jpeg")
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield _saved("TIFF", "1", compression=compression)
    for orientation in (1, 3, 6, 7):
        yield _saved("TIFF", exif=_exif(orientation), icc_profile=_profile())
    yield _saved("TIFF", tiffinfo={_ORIENTATION: 8}, compression="tiff_lzw", big_tiff=True)
    yield _saved("TIFF", "L", big_tiff=True, tiffinfo={262: 0})
    yield _saved("TIFF", **_frames(), compression="packbits")


def _of_16_bits() -> Iterator[bytes]:
    values = np.random.default_rng(1).integers(0, 65536, (7, 10, 4), dtype=np.uint16)
    values[0, 0] = 65535
    for channels in (1, 2, 3, 4):
        pixels = values[..., 0] if channels == 1 else values[..., :channels]
        yield png(pixels)
        for order in "<>":
            yield tiff(pixels, order)
            yield tiff(pixels, order, compressed=True, t274=[6])
    yield png(values[..., :3], values[3, 3, :3])
    yield tiff(values[..., 0] // 16, bits=12)
    yield tiff(values[..., 0], photometric=0, t341=[65535])
    yield tiff(values[..., :3], t284=[2])


def _photos() -> Iterator[bytes]:
    """Files that other programs have written, of which those here keep few segments."""
    files = [path for path in SHARED.glob("data/*/**/*.[jJ]*[gG]") if path.stat().st_size < 8000]
    yield from (path.read_bytes() for path in sorted(files, key=lambda path: path.name)[:40])

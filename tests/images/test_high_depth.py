"""Files of 12 and 16 bits per channel, written here byte by byte: Pillow writes few of them."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sktransfer.exceptions import ImageError, ImageWarning, UnreadableImageError
from sktransfer.images.arrays import array_to_image
from sktransfer.images.decoding import decode_file, pil_to_rgb

# Different values in all channels, so that a mix-up of channels or bytes shows.
VALUES = np.random.default_rng(0).integers(0, 65536, (11, 14, 4), dtype=np.uint16)
VALUES[0, 0] = 65535
GREY = VALUES[..., 0]
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
ORIENTATION, EXTRA_SAMPLES, S_MAX_SAMPLE_VALUE = 274, 338, 341
ASSOCIATED, UNASSOCIATED = 1, 2


def png(values, transparent=None):
    """Make a 16-bit PNG of pixels (h, w) or (h, w, c)."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[np.atleast_3d(values).shape[2]]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [chunk(b"IHDR", header)]
    if transparent is not None:
        chunks.append(chunk(b"tRNS", np.array(transparent, ">u2").tobytes()))
    chunks += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(values, order="<", photometric=None, bits=16, compressed=False, **others):
    """Make a TIFF of one strip; `others` are tags such as ``t341``, each a list of shorts."""
    height, width, channels = np.atleast_3d(values).shape
    data = packed_12_bits(values) if bits == 12 else values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compressed else data
    if photometric is None:
        photometric = MIN_IS_BLACK if channels == 1 else RGB
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [8 if compressed else 1]}
    tags |= {262: [photometric], 273: [0], 277: [channels], 278: [height], 279: [len(data)]}
    tags |= {int(name[1:]): numbers for name, numbers in others.items()}
    end = 8 + 2 + 12 * len(tags) + 4  # of the directory; values of over 4 bytes begin there
    tags[273] = [end + sum(2 * len(numbers) for numbers in tags.values() if len(numbers) > 2)]
    entries, longer = b"", b""
    for tag, numbers in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(value) > 4:
            longer += value
            value = struct.pack(f"{order}I", end + len(longer) - len(value))
        entries += struct.pack(f"{order}HHI", tag, 3, len(numbers)) + value.ljust(4, b"\0")
    magic = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    count = struct.pack(f"{order}H", len(tags))
    return magic + count + entries + bytes(4) + longer + data


def packed_12_bits(values):
    """Pack each two values into three bytes; the number of columns must be even."""
    first, second = values.ravel()[::2].astype(int), values.ravel()[1::2].astype(int)
    middle = (first & 15) << 4 | second >> 8
    return np.stack([first >> 4, middle, second & 255], axis=1).astype(np.uint8).tobytes()


@pytest.fixture
def decoded(tmp_path):
    def decode(contents):
        path = tmp_path / "picture"
        path.write_bytes(contents)
        image = decode_file(path)
        assert image.mode == "RGB"
        return np.asarray(image)

    return decode


def as_array(values):
    return np.asarray(array_to_image(values))


WRITERS = {
    "PNG": png,
    "TIFF": tiff,
    "big-endian TIFF": lambda values: tiff(values, ">"),
    "compressed TIFF": lambda values: tiff(values, compressed=True),
    "compressed big-endian TIFF": lambda values: tiff(values, ">", compressed=True),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_file_of_16_bits_equals_the_array_of_its_values(decoded, write, channels):
    values = GREY if channels == 1 else VALUES[..., :channels]
    np.testing.assert_array_equal(decoded(write(values)), as_array(values))


def test_grey_and_opacity_of_16_bits(decoded):
    grey, opacity = VALUES[..., :1], VALUES[..., 3:]
    pixels = decoded(png(np.dstack([grey, opacity])))
    np.testing.assert_array_equal(pixels, as_array(np.dstack([grey, grey, grey, opacity])))


@pytest.mark.parametrize(
    ("extra", "channels"), [(0, 3), (UNASSOCIATED, 4)], ids=["ignored", "opacity"]
)
def test_a_fourth_channel_of_a_tiff_is_what_its_tag_says(decoded, extra, channels):
    np.testing.assert_array_equal(
        decoded(tiff(VALUES, t338=[extra])), as_array(VALUES[..., :channels])
    )


def test_premultiplied_colours_of_a_tiff_are_read_as_pillow_does(decoded):
    opaque = VALUES.copy()
    opaque[..., 3] = 65535
    pixels = decoded(tiff(opaque, t338=[ASSOCIATED])).astype(int)
    # Pillow divides by the opacity in 8 bits, which may differ by one level from our rounding.
    assert np.abs(pixels - as_array(opaque)).max() <= 1


@pytest.mark.parametrize("compressed", [False, True])
def test_channels_that_lie_one_after_the_other_are_refused_as_pillow_misreads_them(
    decoded, compressed
):
    contents = tiff(VALUES[..., :3], compressed=compressed, t284=[2])
    for read in (decoded, lambda contents: pil_to_rgb(Image.open(BytesIO(contents)))):
        with pytest.raises(ImageError, match="separate planes") as caught:
            read(contents)
        assert not isinstance(caught.value, UnreadableImageError)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_tiff_whose_zero_is_white_is_no_negative(decoded, compressed):
    pixels = decoded(tiff(GREY, photometric=MIN_IS_WHITE, compressed=compressed))
    np.testing.assert_array_equal(pixels, 255 - as_array(GREY))


def test_floats_whose_zero_is_white_are_no_negative(decoded):
    contents = BytesIO()
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(contents, "TIFF", tiffinfo={262: MIN_IS_WHITE})
    np.testing.assert_array_equal(
        decoded(contents.getvalue())[..., 0].ravel(), 255 - np.arange(256)
    )


def test_12_bits_of_a_tiff_fill_the_whole_scale(decoded):
    values = GREY >> 4
    pixels = decoded(tiff(values, bits=12))
    np.testing.assert_array_equal(pixels[..., 0], np.rint(values * (255 / 4095)))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_of_a_tiff_that_states_its_largest_value(decoded, bits, channels):
    values = (GREY if channels == 1 else VALUES[..., :3]) >> (16 - bits)
    largest = [2**bits - 1 - bits] * channels  # some writers store the largest pixel here
    pixels = decoded(tiff(values, t341=largest))
    expected = np.rint(values * (255 / (2**bits - 1)))
    np.testing.assert_array_equal(pixels[..., :channels], np.atleast_3d(expected))


@pytest.mark.parametrize("stated", [0, 300, 65535])
def test_a_largest_value_that_says_nothing_or_too_little_is_ignored(decoded, stated):
    np.testing.assert_array_equal(decoded(tiff(GREY, t341=[stated])), as_array(GREY))


@pytest.mark.parametrize("write", [png, tiff])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_values_that_fit_in_12_bits_warn_as_those_of_an_array(decoded, write, channels):
    values = (GREY if channels == 1 else VALUES[..., :channels]) >> 4
    if channels == 4:  # the opacity has the full range
        values[..., 3] = 65535
    with pytest.warns(ImageWarning, match="4095 or less"):
        pixels = decoded(write(values))
    with pytest.warns(ImageWarning, match="4095 or less"):
        np.testing.assert_array_equal(pixels, as_array(values))


@pytest.mark.parametrize("write", [png, tiff])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_that_fit_in_8_bits_raise_as_those_of_an_array(decoded, write, channels):
    values = (GREY if channels == 1 else VALUES[..., :channels]) >> 8
    with pytest.raises(ImageError, match="looks like 8-bit") as caught:
        decoded(write(values))
    assert not isinstance(caught.value, UnreadableImageError)


@pytest.mark.parametrize("write", [png, tiff])
def test_a_black_file_of_16_bits_is_black(decoded, write):
    assert (decoded(write(np.zeros_like(GREY))) == 0).all()


def test_the_transparent_grey_of_a_png_becomes_white(decoded):
    clear = GREY[3, 4]
    expected = as_array(GREY).copy()
    expected[np.equal(GREY, clear)] = 255
    np.testing.assert_array_equal(decoded(png(GREY, transparent=clear)), expected)


def test_the_transparent_colour_of_a_png_is_compared_by_all_16_bits(decoded):
    values = VALUES[..., :3].copy()
    values[3, 4] = 0x1234
    values[5, 6] = 0x1235  # the same in 8 bits
    expected = as_array(values).copy()
    expected[3, 4] = 255
    np.testing.assert_array_equal(decoded(png(values, transparent=values[3, 4])), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_16_bits_is_turned_upright(decoded, channels):
    values = GREY if channels == 1 else VALUES[..., :3]
    turned = np.ascontiguousarray(values[::-1, ::-1])
    np.testing.assert_array_equal(decoded(tiff(turned, t274=[3])), as_array(values))


def test_a_pil_image_of_a_grey_file_is_read_as_the_file(decoded):
    contents = png(GREY, transparent=GREY[3, 4])
    with Image.open(BytesIO(contents)) as image:
        np.testing.assert_array_equal(pil_to_rgb(image), decoded(contents))
        assert image.mode == "I;16"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_of_16_bits_that_ends_early_is_unreadable(decoded, write):
    contents = write(VALUES[..., :3])
    with pytest.raises(UnreadableImageError):
        decoded(contents[: len(contents) - 300])


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", [(9, 515), (515, 9)])
def test_pictures_of_several_boxes(decoded, write, channels, shape):
    values = np.random.default_rng(1).integers(0, 65536, (*shape, channels), dtype=np.uint16)
    values = values[..., 0] if channels == 1 else values
    np.testing.assert_array_equal(decoded(write(values)), as_array(values))


def test_a_number_of_bits_that_cannot_be_is_16(decoded):
    """Found by fuzzing: such a scale was too long for the arithmetic."""
    contents = tiff(VALUES[..., :3], t258=[16, 16, 16, 60000])
    np.testing.assert_array_equal(decoded(contents), as_array(VALUES[..., :3]))

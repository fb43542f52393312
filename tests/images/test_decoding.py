import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from sktransfer.exceptions import ImageError, ImageWarning, UnreadableImageError
from sktransfer.images.decoding import EXTENSIONS, FORMATS, decode_file, pil_to_rgb
from sktransfer.images.sources import as_images

ORIENTATION = 0x0112
NOISE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
BLOCKS = np.kron(NOISE[:3, :4], np.ones((16, 16, 1), np.uint8))  # survives JPEG
RAMP_16 = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)


def picture(pixels=NOISE):
    return Image.fromarray(pixels)


def saved(path, image=None, **options):
    (image or picture()).save(path, **options)
    return path


def decoded(path):
    image = decode_file(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_header(width, height):
    """Make a PNG without pixels: its size can be read, but decoding it fails."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
    ],
)
def test_lossless_formats_keep_every_pixel(tmp_path, name, options):
    np.testing.assert_array_equal(decoded(saved(tmp_path / name, **options)), NOISE)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {"quality": 95}), ("a.jpeg", {"progressive": True}), ("a.webp", {"quality": 95})],
)
def test_lossy_formats_are_close(tmp_path, name, options):
    pixels = decoded(saved(tmp_path / name, picture(BLOCKS), **options))
    assert pixels.shape == BLOCKS.shape
    assert np.abs(pixels.astype(int) - BLOCKS).mean() < 20


def test_gif_keeps_its_palette_colours(tmp_path):
    pixels = NOISE[:4, :4]
    path = saved(tmp_path / "a.gif", picture(pixels).quantize(16))
    np.testing.assert_allclose(decoded(path), pixels, atol=3)


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_animated_picture_gives_its_first_frame_and_warns(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ["red", "lime", "blue"]]
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    with pytest.warns(ImageWarning, match="first frame"):
        pixels = decoded(path)
    assert (pixels == [255, 0, 0]).all()


def test_phone_jpeg_with_a_second_picture_is_read_without_warning(tmp_path):
    path = tmp_path / "a.jpg"
    picture(BLOCKS).save(path, "MPO", save_all=True, append_images=[picture(BLOCKS[::-1])])
    assert np.abs(decoded(path).astype(int) - BLOCKS).mean() < 20


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_file_of_several_pages_or_frames_gives_its_first_and_warns(tmp_path, name):
    path = saved(tmp_path / name, save_all=True, append_images=[picture(NOISE[::-1])])
    with pytest.warns(ImageWarning, match="first frame or page"):
        pixels = decoded(path)
    np.testing.assert_array_equal(pixels, NOISE)


def as_stored(upright, orientation):
    """Return the pixels of a file that is shown as `upright` under an EXIF orientation."""
    swapped = upright.swapaxes(0, 1)
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: swapped,
        6: swapped[::-1],
        7: swapped[::-1, ::-1],
        8: swapped[:, ::-1],
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_applied(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if name == "a.webp" else {}
    stored = np.ascontiguousarray(as_stored(NOISE, orientation))
    path = saved(tmp_path / name, picture(stored), exif=exif, **options)
    np.testing.assert_array_equal(decoded(path), NOISE)
    with Image.open(path) as image:
        np.testing.assert_array_equal(pil_to_rgb(image), NOISE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_from_a_turned_camera_is_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(as_stored(BLOCKS, orientation))
    pixels = decoded(saved(tmp_path / "a.jpg", picture(stored), exif=exif, quality=95))
    assert pixels.shape == BLOCKS.shape
    assert np.abs(pixels.astype(int) - BLOCKS).mean() < 20


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_tiff_that_pillow_would_map_into_memory_is_turned(tmp_path, mode, orientation):
    """Pillow mixes up the pixels of some of these if it opens them by name (found by fuzzing)."""
    if mode in ("I;16", "F"):
        values = {"I;16": NOISE[..., 0] * np.uint16(257), "F": NOISE[..., 0] / np.float32(255)}
        image = picture(values[mode])
    else:
        image = picture().quantize(16) if mode == "P" else picture().convert(mode)
    stored = Image.fromarray(np.ascontiguousarray(as_stored(np.asarray(image), orientation)))
    if mode in ("CMYK", "P"):
        stored = Image.frombytes(mode, stored.size, stored.tobytes())
        stored.putpalette(image.getpalette()) if mode == "P" else None
    path = saved(tmp_path / "a.tif", stored, tiffinfo={ORIENTATION: orientation})
    upright = decoded(saved(tmp_path / "upright.tif", image))
    np.testing.assert_array_equal(decoded(path), upright)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(pil_to_rgb(opened), upright)
        assert opened.filename == str(path)  # the user's image is as before


def test_warnings_of_pillow_that_are_errors_are_unreadable_files(tmp_path):
    """As under ``python -W error``."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\x00"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = saved(tmp_path / "a.jpg", exif=exif)
        assert decoded(path).shape == NOISE.shape
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImageError, match="can't be decoded: Corrupt EXIF"):
            decode_file(path)


def test_warnings_of_sktransfer_that_are_errors_stay_what_they_are(tmp_path):
    of_12_bits = picture(NOISE[..., 0].astype(np.uint16) * 16)
    path = saved(tmp_path / "a.png", of_12_bits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in (path, of_12_bits):
            with pytest.raises(ImageWarning, match="12-bit"):
                as_images([each]).read(0)


@pytest.mark.parametrize("exif", [b"Exif\0\0no such thing", b""])
def test_damaged_exif_does_not_cost_the_picture(tmp_path, exif):
    assert decoded(saved(tmp_path / "a.jpg", exif=exif)).shape == NOISE.shape


def test_unknown_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    np.testing.assert_array_equal(decoded(saved(tmp_path / "a.png", exif=exif)), NOISE)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_grey_files(tmp_path, name):
    grey = NOISE[..., 0]
    pixels = decoded(saved(tmp_path / name, picture(grey)))
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))


def test_black_and_white_file(tmp_path):
    mask = NOISE[..., 0] > 127
    pixels = decoded(saved(tmp_path / "a.png", picture(mask)))
    np.testing.assert_array_equal(pixels[..., 1], mask * 255)


def test_palette_file(tmp_path):
    indexed = picture().quantize(16)
    pixels = decoded(saved(tmp_path / "a.png", indexed))
    np.testing.assert_array_equal(pixels, np.asarray(indexed.convert("RGB")))


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_transparent_palette_entry_becomes_white(tmp_path, name):
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([10, 20, 30, 200, 100, 0])
    indexed.putpixel((1, 0), 1)
    pixels = decoded(saved(tmp_path / name, indexed, transparency=1))
    np.testing.assert_array_equal(pixels[0], [[10, 20, 30], [255, 255, 255]])


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0)])
def test_transparent_colour_of_an_rgb_png_becomes_white(tmp_path, colour):
    path = saved(tmp_path / "a.png", Image.new("RGB", (3, 3), colour), transparency=colour)
    assert (decoded(path) == 255).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_fully_transparent_picture_is_white(tmp_path, name, mode):
    assert (decoded(saved(tmp_path / name, Image.new(mode, (4, 5), 0))) == 255).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_half_transparent_black_is_mid_grey(tmp_path, mode):
    black = (0, 0, 0) if mode == "RGBA" else (0,)
    path = saved(tmp_path / "a.png", Image.new(mode, (4, 5), (*black, 128)))
    np.testing.assert_allclose(decoded(path), 127, atol=1)


@pytest.mark.parametrize("colour", ["red", "white", "black", "navy"])
def test_cmyk_jpeg_keeps_its_colours(tmp_path, colour):
    image = Image.new("RGB", (16, 16), colour)
    pixels = decoded(saved(tmp_path / "a.jpg", image.convert("CMYK"), quality=95))
    np.testing.assert_allclose(pixels, np.asarray(image), atol=4)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBa", "RGBX", "PA"])
def test_rare_pil_modes_become_rgb(mode):
    white = Image.new("RGB", (4, 4), "white")
    if mode == "LAB":
        to_lab = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        image = ImageCms.profileToProfile(white, *to_lab, outputMode="LAB")
    else:
        image = white.convert("RGBA" if mode in ("RGBa", "PA") else "RGB").convert(mode)
    result = pil_to_rgb(image)
    assert result.mode == "RGB"
    np.testing.assert_allclose(np.asarray(result), 255, atol=2)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_files_are_scaled_and_not_clipped(tmp_path, name):
    grey = decoded(saved(tmp_path / name, picture(RAMP_16)))[..., 0]
    assert len(np.unique(grey)) >= 250
    np.testing.assert_allclose(grey, RAMP_16 / 257, atol=0.51)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_16_bit_pil_images_are_scaled(mode):
    order = ">u2" if mode == "I;16B" else "<u2"
    image = Image.frombytes(mode, (64, 64), RAMP_16.astype(order).tobytes())
    np.testing.assert_allclose(np.asarray(pil_to_rgb(image))[..., 0], RAMP_16 / 257, atol=0.51)


def test_float_tiff_in_0_to_1(tmp_path):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    pixels = decoded(saved(tmp_path / "a.tif", picture(values)))
    np.testing.assert_array_equal(pixels[..., 2].ravel(), np.arange(256))


def test_float_tiff_out_of_range_raises(tmp_path):
    path = saved(tmp_path / "a.tif", picture(NOISE[..., 0].astype(np.float32)))
    with pytest.raises(ImageError, match=r"must lie in 0\.\.1"):
        decode_file(path)


def test_32_bit_integers_raise(tmp_path):
    image = picture(NOISE[..., 0].astype(np.int32))
    with pytest.raises(ImageError, match="no defined range") as caught:
        decode_file(saved(tmp_path / "a.tif", image))
    assert not isinstance(caught.value, UnreadableImageError)
    with pytest.raises(ImageError, match="no defined range"):
        pil_to_rgb(image)


@pytest.mark.parametrize("name", ["png.jpg", "png.webp", "png.txt", "png"])
def test_contents_count_and_not_the_name(tmp_path, name):
    np.testing.assert_array_equal(decoded(saved(tmp_path / name, format="PNG")), NOISE)


@pytest.mark.parametrize(
    "name", ["Ünï çødé 图片 🐦.png", "with several  spaces.png", "a" * 200 + ".png", "100%#?.png"]
)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_paths_of_any_spelling(tmp_path, name, kind):
    folder = tmp_path / ("deep " * 30) / ("deeper " * 30)
    folder.mkdir(parents=True)
    np.testing.assert_array_equal(decoded(kind(saved(folder / name))), NOISE)


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link.png").symlink_to(saved(tmp_path / "a.png"))
    np.testing.assert_array_equal(decoded(tmp_path / "link.png"), NOISE)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tif"])
# The file ends in its header, in the middle of its pixels, or shortly before its end.
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_truncated_file_is_unreadable(tmp_path, name, kept):
    path = saved(
        tmp_path / name,
        picture(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)),
    )
    contents = path.read_bytes()
    path.write_bytes(contents[: int(len(contents) * kept)])
    with pytest.raises(UnreadableImageError):
        decode_file(path)


@pytest.mark.parametrize("contents", [b"", b"\0", b"not a picture at all\n" * 100])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_file_that_is_no_picture_is_unreadable(tmp_path, name, contents):
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(UnreadableImageError, match="empty, damaged, or none of JPEG, PNG"):
        decode_file(path)


@pytest.mark.parametrize("kept", [4, 12, 20])
def test_gif_that_ends_in_its_second_frame_is_unreadable(tmp_path, kept):
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 255)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    contents = path.read_bytes()
    second = contents.rindex(b"\x21\xf9\x04")  # where the frame's control block starts
    path.write_bytes(contents[: second + kept])  # Pillow raises struct.error after 12 bytes
    with pytest.raises(UnreadableImageError, match="can't be decoded"):
        decode_file(path)


@pytest.mark.parametrize("name", ["nothing.png", "a.png/b.png", "nothing/at/all.png", "a\0b.png"])
def test_missing_file_is_unreadable(tmp_path, name):
    saved(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError):
        decode_file(f"{tmp_path}/{name}")


def test_dangling_link_is_unreadable(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UnreadableImageError, match="no such file"):
        decode_file(tmp_path / "a.png")


def test_folder_is_a_mistake_and_not_unreadable(tmp_path):
    with pytest.raises(ImageError, match="folder") as caught:
        decode_file(tmp_path)
    # on_error="nan" skips unreadable pictures, but must not hide such a mistake.
    assert not isinstance(caught.value, UnreadableImageError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="neither a file nor a folder"):
        decode_file(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_file_without_permission_is_unreadable(tmp_path):
    path = saved(tmp_path / "a.png")
    path.chmod(0)
    with pytest.raises(UnreadableImageError, match="Permission"):
        decode_file(path)


@pytest.mark.parametrize("format_name", ["EPS", "PDF", "PPM", "TGA", "ICO", "JPEG2000"])
@pytest.mark.parametrize("name", ["original", "a.png"])
def test_formats_off_the_list_are_refused(tmp_path, format_name, name):
    path = tmp_path / (name if name != "original" else f"a.{format_name.lower()}")
    picture().save(path, format_name)
    with pytest.raises(UnreadableImageError, match="none of"):
        decode_file(path)


def test_every_extension_of_the_listed_formats_is_listed():
    known = Image.registered_extensions()
    assert {extension for extension in known if known[extension] in FORMATS} == set(EXTENSIONS)


@pytest.mark.parametrize("filter_action", ["error", "ignore"])
@pytest.mark.parametrize("width", [11, 14, 15, 1000], ids=["above", "near 2x", "2x", "far above"])
def test_pixel_limit_is_checked_from_the_header(tmp_path, monkeypatch, width, filter_action):
    # Pillow itself warns up to twice the limit, and raises above it. Neither its warning nor its
    # error must get through, whatever the user's filters are.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, 10))  # decoding would raise UnreadableImageError
    with warnings.catch_warnings():
        warnings.simplefilter(filter_action)
        with pytest.raises(ImageError, match=r"limit of 100\. .*MAX_IMAGE_PIXELS") as caught:
            decode_file(path)
    assert not isinstance(caught.value, UnreadableImageError)


def test_header_without_pixels_is_unreadable_below_the_limit(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(10, 10))
    with pytest.raises(UnreadableImageError):
        decode_file(path)


@pytest.mark.parametrize("limit", [NOISE.shape[0] * NOISE.shape[1], None])
def test_pictures_up_to_the_limit_are_read(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    np.testing.assert_array_equal(decoded(saved(tmp_path / "a.png")), NOISE)


def test_small_file_that_unpacks_to_a_huge_picture_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("1", (4000, 4000)))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    Image.core.reset_stats()
    with pytest.raises(ImageError, match=r"limit of 1,000,000"):
        decode_file(path)
    assert Image.core.get_stats()["new_count"] == 0  # Pillow allocated no image


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_users_pil_image_is_not_modified(mode):
    if mode in ("I;16", "F"):
        scale = 1 if mode == "I;16" else 65535
        image = picture((RAMP_16 / scale).astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = picture().convert(mode)
    exif = image.getexif()
    exif[ORIENTATION] = 6
    image.info["exif"] = exif.tobytes()
    before = (image.mode, image.size, image.tobytes(), dict(image.info), image.getpalette())
    result = pil_to_rgb(image)
    assert result.size == image.size[::-1]
    assert (image.mode, image.size, image.tobytes(), image.info, image.getpalette()) == before
    assert image.getexif()[ORIENTATION] == 6


def test_users_open_file_stays_usable(tmp_path):
    with Image.open(saved(tmp_path / "a.png", picture().quantize(16))) as image:
        pil_to_rgb(image)
        assert image.mode == "P"
        assert image.resize((4, 4)).size == (4, 4)


def test_pil_image_without_pixels_raises():
    with pytest.raises(ImageError, match="without pixels"):
        pil_to_rgb(Image.new("RGB", (0, 5)))

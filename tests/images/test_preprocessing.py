import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import EfficientNet_B0_Weights, MobileNet_V2_Weights, ResNet50_Weights
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms._presets import ImageClassification

from sktransfer.images.preprocessing import RESIZES, Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PRESETS = {
    "256 to 224 bilinear": MobileNet_V2_Weights.IMAGENET1K_V1.transforms(),
    "232 to 224 bilinear": ResNet50_Weights.IMAGENET1K_V2.transforms(),
    "256 to 224 bicubic": EfficientNet_B0_Weights.IMAGENET1K_V1.transforms(),
    "224 bilinear": ImageClassification(crop_size=224, resize_size=224),
    "96 bicubic": ImageClassification(
        crop_size=96, resize_size=96, interpolation=InterpolationMode.BICUBIC
    ),
    "odd margins": ImageClassification(crop_size=97, resize_size=110),
}


def ours(preset):
    return Preprocessing(
        resize_size=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def theirs(preset, image):
    normalized = preset(image)
    mean, std = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    return ((normalized * std + mean) * 255).round().numpy().transpose(1, 2, 0)


def scenery(width, height):
    """Make a picture of soft shapes, sharp edges and noise, similar to a photo."""
    rng = np.random.default_rng(width * 1000 + height)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = [250, 5, 5]
    noise = rng.integers(-20, 21, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def preset_of(size=32, resize=40, interpolation="bilinear"):
    return Preprocessing(resize, size, interpolation, MEAN, STD)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "size", [(97, 150), (151, 80), (64, 64), (500, 333), (301, 640), (512, 512), (256, 256)]
)
def test_pixels_are_those_of_torchvision(name, size):
    image = scenery(*size)
    pixels = ours(PRESETS[name])(image)
    expected = theirs(PRESETS[name], image)
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 2


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (1, 20_000), (20_000, 1)])
def test_degenerate_pictures_give_their_colour(size, interpolation):
    preprocessing = preset_of(interpolation=interpolation)
    pixels = preprocessing(Image.new("RGB", size, (10, 200, 30)))
    assert pixels.shape == (32, 32, 3)
    assert (pixels == [10, 200, 30]).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_very_long_picture_is_not_resized_whole(size, interpolation):
    image = Image.new("RGB", size, (10, 200, 30))
    Image.core.reset_stats()
    preset_of(224, 256, interpolation)(image)  # resizing all of it would take 5 GB
    stats = Image.core.get_stats()
    blocks = stats["allocated_blocks"] + stats["reused_blocks"]
    assert 1 <= blocks <= 8  # a block has at most 16 MiB


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_center_is_kept(interpolation):
    image = Image.new("RGB", (90, 30), "black")
    image.paste((255, 255, 255), (30, 0, 60, 30))
    pixels = preset_of(32, 32, interpolation)(image)
    assert pixels[:, 3:-3].min() > 250
    turned = preset_of(32, 32, interpolation)(image.transpose(Image.Transpose.ROTATE_90))
    assert turned[3:-3].min() > 250


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_picture_of_the_right_size_is_kept(interpolation):
    image = scenery(32, 32)
    np.testing.assert_array_equal(preset_of(32, 32, interpolation)(image), image)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [(256, 256), (232, 300), (97, 110), (130, 96), (40, 500)])
def test_an_array_gives_the_pixels_of_the_same_image(name, size):
    preset, image = ours(PRESETS[name]), scenery(*size)
    # Arrays may be views: tensors and channels-first arrays are transposed without a copy.
    view = np.asarray(image).transpose(2, 0, 1).copy().transpose(1, 2, 0)
    for pixels in (np.asarray(image), view):
        np.testing.assert_array_equal(preset(pixels), preset(image))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_picture_is_not_modified(interpolation):
    image = scenery(50, 40)
    before = image.tobytes()
    preset_of(interpolation=interpolation)(image)
    assert (image.size, image.tobytes()) == ((50, 40), before)


@pytest.mark.parametrize(
    ("resize", "crop", "image_size", "expected"),
    [
        (256, 224, 112, (128, 112)),
        (256, 224, 448, (512, 448)),
        (256, 224, 96, (110, 96)),
        (232, 224, 1, (1, 1)),
        (224, 224, 100, (100, 100)),
        (225, 224, 50, (50, 50)),
        (200, 224, 112, (112, 112)),
    ],
)
def test_another_size_keeps_the_proportion(resize, crop, image_size, expected):
    preset = Preprocessing(resize, crop, "bicubic", MEAN, STD)
    resized = preset.at_size(image_size)
    assert (resized.resize_size, resized.crop_size) == expected
    assert (resized.interpolation, resized.mean, resized.std) == ("bicubic", MEAN, STD)
    assert resized(scenery(70, 90)).shape == (image_size, image_size, 3)
    assert (preset.resize_size, preset.crop_size) == (resize, crop)


@pytest.mark.parametrize("image_size", [None, 32])
def test_same_size_is_the_same_preset(image_size):
    preset = preset_of()
    assert preset.at_size(image_size) is preset


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(90, 30), (30, 90), (64, 64), (20, 7), (500, 333)])
def test_squash_is_one_resize_of_the_whole_picture(size, interpolation):
    image = scenery(*size)
    expected = v2.functional.resize(
        image, [32, 32], InterpolationMode(interpolation), antialias=True
    )
    pixels = preset_of(interpolation=interpolation).resized("squash")(image)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (64, 64), (20, 7)])
def test_pad_shows_the_whole_picture_on_the_colour_of_its_border(size):
    image = Image.new("RGB", size, (10, 200, 30))
    image.paste((250, 0, 0), (size[0] // 3, size[1] // 3, 2 * size[0] // 3, 2 * size[1] // 3))
    pixels = preset_of().resized("pad")(image)
    assert pixels.shape == (32, 32, 3)
    red = pixels[..., 0] > 130
    height, width = red.any(axis=1).sum(), red.any(axis=0).sum()
    # The picture keeps the ratio of its sides, and its longer side fills the square.
    assert abs(max(height, width) - 32 / 3) <= 2
    assert abs(width / height - size[0] / size[1]) < 0.5 * max(1, size[0] / size[1])
    for corner in (pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]):
        np.testing.assert_allclose(corner, [10, 200, 30], atol=1)


def test_pad_centres_the_picture():
    white = Image.new("RGB", (96, 33), "white")
    white.paste("black", (4, 4, 92, 29))
    pixels = preset_of(64).resized("pad")(white)
    np.testing.assert_array_equal(pixels[:, ::-1], pixels)
    np.testing.assert_array_equal(pixels[::-1], pixels)


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (1, 20_000), (20_000, 1)])
def test_degenerate_pictures_give_their_colour_whole(size, resize):
    pixels = preset_of().resized(resize)(Image.new("RGB", size, (10, 200, 30)))
    assert pixels.shape == (32, 32, 3)
    assert (pixels == [10, 200, 30]).all()


@pytest.mark.parametrize("size", [(48, 48), (32, 32), (301, 301)])
def test_square_pictures_are_squashed_and_padded_alike(size):
    image = scenery(*size)
    pixels = preset_of().resized("pad")(image)
    np.testing.assert_array_equal(pixels, preset_of().resized("squash")(image))


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("size", [(32, 32), (232, 300), (97, 110), (130, 96), (40, 500), (20, 32)])
def test_an_array_gives_the_pixels_of_the_same_image_whole(size, resize):
    preset, image = preset_of().resized(resize), scenery(*size)
    view = np.asarray(image).transpose(2, 0, 1).copy().transpose(1, 2, 0)
    for pixels in (np.asarray(image), view):
        np.testing.assert_array_equal(preset(pixels), preset(image))


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_resize_is_kept_at_another_size(resize):
    pixels = preset_of().resized(resize).at_size(20)(scenery(60, 90))
    np.testing.assert_array_equal(pixels, preset_of(20).resized(resize)(scenery(60, 90)))


def test_each_resize_has_a_key_of_its_own():
    presets = [preset_of().resized(resize) for resize in RESIZES]
    assert len({preset.cache_key for preset in presets}) == len(RESIZES)
    # The keys and digests of stores and pickles from before `resize`.
    assert preset_of().cache_key == "resize 40 bilinear crop 32"
    assert len({repr(preset) for preset in presets}) == 1


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (256, 256), (60, 47)])
def test_the_square_lies_in_the_picture_where_it_is_said_to(resize, crop_mode, size):
    width, height = size
    # Colours that tell where a pixel was: red from left to right, green from top to bottom.
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = (np.arange(width) + 0.5) / width * 255
    picture[..., 1] = ((np.arange(height) + 0.5) / height * 255)[:, None]
    preset = Preprocessing(64, 56, "bilinear", MEAN, STD, resize=resize, crop_mode=crop_mode)
    pixels = preset(picture).astype(float)
    left, top, right, bottom = preset.seen(width, height)
    middles = (np.arange(56) + 0.5) / 56
    x, y = left + middles * (right - left), top + middles * (bottom - top)
    columns, rows = (x > 0) & (x < width), (y > 0) & (y < height)
    seen = pixels[np.ix_(rows, columns)]
    # By less than one pixel of the square: a crop is rounded to whole ones.
    red, green = 255 * (right - left) / 56 / width, 255 * (bottom - top) / 56 / height
    inside = np.s_[2:-2, 2:-2]  # at the border colours are mixed with the padding
    assert abs(seen[..., 0] - x[columns] / width * 255)[inside].max() < red / 2 + 1
    assert abs(seen[..., 1] - y[rows, None] / height * 255)[inside].max() < green / 2 + 1

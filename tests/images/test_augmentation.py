from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from scipy.ndimage import affine_transform
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import to_dtype

from sktransfer._common.random import OwnGenerator, seeded
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import (
    AUGMENTATIONS,
    AugmentedView,
    KerasClassic,
    named_transform,
)
from tests.conftest import HANGS, make_pictures
from tests.small_estimators import make_classifier


def photo(size=48, seed=0):
    """Make a smooth picture without repetition, to compare two interpolations on it."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((size, size), Image.Resampling.BICUBIC)


PHOTOS = [photo(seed=seed) for seed in range(8)]


@pytest.mark.parametrize("name", [None, *AUGMENTATIONS])
def test_size_and_type_stay(name):
    for number in range(20):
        pixels = AugmentedView(name, 48, 0, number)(PHOTOS[number % 8])
        assert pixels.shape == (48, 48, 3)
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_views_differ_from_the_picture_and_from_each_other(name):
    # Not all 12: "trivial" also draws changes of strength 0, and flips only half of the views.
    views = {AugmentedView(name, 48, 0, number)(PHOTOS[0]).tobytes() for number in range(12)}
    assert len(views) >= 6
    seeds = {AugmentedView(name, 48, seed)(PHOTOS[0]).tobytes() for seed in range(12)}
    assert len(seeds) >= 6
    assert any(view != PHOTOS[0].tobytes() for view in views)


def test_without_a_name_the_picture_stays():
    assert_array_equal(AugmentedView(None, 48)(PHOTOS[0]), np.asarray(PHOTOS[0]))


@pytest.mark.parametrize("augment", [*AUGMENTATIONS, v2.RandomRotation(30)], ids=str)
def test_a_view_depends_on_picture_seed_and_number_alone(augment):
    view = AugmentedView(augment, 48, seed=5, number=2)
    alone = [AugmentedView(augment, 48, seed=5, number=2)(picture) for picture in PHOTOS]
    backwards = [view(picture) for picture in reversed(PHOTOS)][::-1]
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(view, PHOTOS * 3))
    assert_array_equal(backwards, alone)
    assert_array_equal(threads, alone * 3)


def test_pictures_of_one_view_are_not_all_changed_alike():
    view = AugmentedView(v2.RandomHorizontalFlip(), 48)
    flipped = [not np.array_equal(view(picture), np.asarray(picture)) for picture in PHOTOS]
    assert 0 < sum(flipped) < len(flipped)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_global_random_state_stays(name):
    views = [AugmentedView(name, 48, number=number) for number in range(100)]
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = [view(PHOTOS[0]) for view in views]
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)  # has no effect on the views
    assert_array_equal([view(PHOTOS[0]) for view in views], first)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_named_ones_draw_as_torchvision_does_from_a_seed(name):
    drawn, expected = [], []
    for seed in range(20):
        with OwnGenerator(seed):
            drawn.append(np.asarray(named_transform(name, 48)(PHOTOS[0])))
        torch.manual_seed(seed)
        expected.append(np.asarray(named_transform(name, 48)(PHOTOS[0])))
    assert_array_equal(drawn, expected)


def test_named_ones_do_not_wait_for_who_holds_the_global_generator():
    view = AugmentedView("standard", 48)
    with seeded(0), ThreadPoolExecutor(1) as pool:
        assert_array_equal(pool.submit(view, PHOTOS[0]).result(timeout=HANGS), view(PHOTOS[0]))


def test_the_global_random_state_stays_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(ParameterError):
        AugmentedView(lambda _: torch.rand(3), 48)(PHOTOS[0])
    assert torch.equal(torch.random.get_rng_state(), before)


# The classic augmentation of Keras' ImageDataGenerator.


def by_scipy(image, matrix, shift):
    """Compute the result of `KerasClassic` with SciPy, except for the flip."""
    size = np.array(image.size)
    # Ours are (x, y) coordinates of pixel corners; SciPy's are (row, column) of pixel centres.
    offset = size / 2 + shift * size - matrix @ (size / 2) + matrix @ [0.5, 0.5] - 0.5
    channels = [
        affine_transform(channel, matrix[::-1, ::-1], offset[::-1], order=1, mode="nearest")
        for channel in np.asarray(image, float).transpose(2, 0, 1)
    ]
    return np.stack(channels, axis=2)


@pytest.mark.parametrize("seed", range(8))
def test_keras_equals_scipy(seed):
    keras, image = KerasClassic(), photo(64, seed)
    torch.manual_seed(seed)
    params = keras.make_params([image])
    changed = np.asarray(keras.transform(image, {**params, "flip": False}), float)
    difference = np.abs(changed - by_scipy(image, params["matrix"], params["shift"]))
    assert difference.max() < 0.51  # in grey levels of 0..255, after rounding
    assert np.abs(changed - np.asarray(image)).mean() > 5  # the picture has changed


def test_keras_repeats_the_nearest_pixel_however_far_outside():
    image = photo(32)
    params = {"matrix": np.eye(2), "shift": np.array([0.75, 0.0]), "flip": False}
    changed = np.asarray(KerasClassic().transform(image, params))
    pixels = np.asarray(image)
    assert_array_equal(changed[:, :8], pixels[:, 24:])
    assert_array_equal(changed[:, 8:], np.repeat(pixels[:, -1:], 24, axis=1))


def test_keras_without_change_is_the_picture():
    params = {"matrix": np.eye(2), "shift": np.zeros(2), "flip": False}
    changed = np.asarray(KerasClassic().transform(PHOTOS[0], params))
    assert_array_equal(changed, np.asarray(PHOTOS[0]))
    flipped = np.asarray(KerasClassic().transform(PHOTOS[0], {**params, "flip": True}))
    assert_array_equal(flipped, np.asarray(PHOTOS[0])[:, ::-1])


def test_keras_turns_and_shifts_within_its_ranges():
    torch.manual_seed(0)
    drawn = [KerasClassic().make_params([]) for _ in range(200)]
    angles = [np.rad2deg(np.arctan2(d["matrix"][1, 0], d["matrix"][0, 0])) for d in drawn]
    lengths = [np.linalg.norm(d["matrix"], axis=0) for d in drawn]
    shifts = [np.linalg.norm(d["shift"]) for d in drawn]
    assert 35 < np.max(np.abs(angles)) <= 40
    assert 0.8 <= np.min(lengths) < 0.82
    assert 1.18 < np.max(lengths) <= 1.2 + 1e-9
    assert 0.2 < np.max(shifts) <= 0.2 * 2**0.5
    assert 0.3 < np.mean([d["flip"] for d in drawn]) < 0.7


# The user's own transforms.


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomResizedCrop(48, antialias=True),
        v2.RandAugment(),
        v2.AutoAugment(),
        v2.AugMix(),
        v2.ColorJitter(0.5, 0.5, 0.5, 0.2),
        v2.GaussianBlur(3),
        v2.RandomErasing(p=1),
        v2.RandomPerspective(p=1),
        v2.RandomVerticalFlip(p=1),
        v2.Compose([v2.RandomGrayscale(p=1), v2.RandomRotation(90)]),
        lambda picture: picture.flip(2),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_any_transform_of_uint8_tensors_will_do(transform):
    views = [AugmentedView(transform, 48, 1, number) for number in range(5)]
    changed = [view(PHOTOS[0]) for view in views]
    for pixels in changed:
        assert pixels.shape == (48, 48, 3)
        assert pixels.dtype == np.uint8
    assert_array_equal(changed, [view(PHOTOS[0]) for view in views])
    assert any(not np.array_equal(pixels, np.asarray(PHOTOS[0])) for pixels in changed)


def test_a_transform_gets_channels_first():
    red = Image.new("RGB", (48, 48), (255, 0, 0))
    seen = []
    AugmentedView(lambda picture: seen.append(picture) or picture, 48)(red)
    assert seen[0].shape == (3, 48, 48)
    assert seen[0].dtype == torch.uint8
    assert seen[0].float().mean((1, 2)).tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("transform", "got"),
    [
        (v2.ToDtype(torch.float32, scale=True), r"torch\.float32 of shape \(3, 32, 32\)"),
        (v2.Resize(20), r"torch\.uint8 of shape \(3, 20, 20\)"),
        (v2.Grayscale(), r"torch\.uint8 of shape \(1, 32, 32\)"),
        (v2.ToPILImage(), "Image"),
        (lambda picture: to_dtype(picture, torch.float32), r"torch\.float32"),
        (lambda _: None, "NoneType"),
    ],
    ids=["floats", "size", "channels", "PIL", "function", "nothing"],
)
def test_anything_else_than_such_pictures_is_an_error_of_fit(transform, got):
    X, y = make_pictures(6)
    classifier = make_classifier(augment=transform, n_views=1)
    with pytest.raises(ParameterError, match=rf"augment=.*\(3, 32, 32\).*got .*{got}"):
        classifier.fit(X, y)


def test_an_unknown_name_is_an_error_of_fit():
    with pytest.raises(ValueError, match=r"augment.*heavy"):
        make_classifier(augment="heavy").fit(*make_pictures(6))

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from torchvision.transforms import v2

from sktransfer.activations.augmented import Augmented, decode
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.streaming import FrozenPass
from sktransfer.activations.views import FixedViews, FreshViews
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.backbones.networks import build_random
from sktransfer.images.augmentation import AugmentedView
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images
from tests.backbones.helpers import cut
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier

PRESET = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def make_pass(**options):
    """A pass that returns the pixels, so that they can be compared."""
    return FrozenPass(FrozenNetwork(), PRESET, EngineChoice("torch"), 5, 2, **options)


def augmented(X, augment="light", seed=3, keep=False, **options):
    one_pass = make_pass(**options)
    return Augmented(decode(as_images(X), one_pass), one_pass, augment, seed, keep)


def by_hand(pixels, augment, seed, number):
    view = AugmentedView(augment, 32, seed, number)
    return np.stack([view(Image.fromarray(picture)) for picture in pixels])


def as_pixels(activations):
    return activations.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("size", [32, 50])
def test_decoded_pictures_are_what_the_network_sees(size):
    X, _ = make_pictures(7, size=size)
    pixels = decode(as_images(X), make_pass())
    assert pixels.dtype == np.uint8
    assert_array_equal(pixels, [PRESET(Image.fromarray(picture)) for picture in X])


@pytest.mark.parametrize("augment", ["light", "keras", v2.RandomVerticalFlip()], ids=str)
def test_views_are_the_pictures_augmented_by_hand(augment):
    X, _ = make_pictures(7)
    views = augmented(X, augment).views(3, np.arange(7))
    assert isinstance(views, FixedViews)
    pixels = decode(as_images(X), make_pass())
    for number in range(3):
        assert_array_equal(as_pixels(views(number)), by_hand(pixels, augment, 3, number))
    assert views(3) is views(0)  # they take turns


def test_fresh_views_never_end():
    X, _ = make_pictures(5)
    views = augmented(X).views(None, np.arange(5))
    assert isinstance(views, FreshViews)
    pixels = decode(as_images(X), make_pass())
    for number in (0, 4, 2):
        assert_array_equal(as_pixels(views(number)), by_hand(pixels, "light", 3, number))


def test_fresh_views_are_computed_once_per_epoch():
    numbers = []
    views = FreshViews(lambda number: numbers.append(number) or torch.zeros(2, 1), 2, bytes)
    for epoch in (0, 0, 1, 1, 1, 2):
        views(epoch)
    assert numbers == [0, 1, 2]


def test_rows_are_taken_of_the_pictures():
    X, _ = make_pictures(8)
    whole = augmented(X)
    rows = np.array([6, 1, 4])
    for number in (None, 2):
        expected = whole.activations(number)[rows]
        assert torch.equal(whole.activations(number, rows), expected)
    assert len(whole.views(None, rows)) == 3


def test_pictures_without_augmentation():
    X, _ = make_pictures(8)
    expected, _ = make_pass().collect(as_images(X))
    assert torch.equal(augmented(X).activations(None), expected)


@pytest.mark.parametrize("n_views", [1, 4, None])
def test_pictures_are_decoded_once_for_any_number_of_views(picture_files, decoded, n_views):
    paths, y = picture_files
    classifier = make_classifier(
        augment="standard",
        n_views=n_views,
        max_epochs=3,
        optimizer="adamw",
        validation_fraction=0.25,
    ).fit(paths, y)
    assert sorted(decoded) == sorted(paths)
    decoded.clear()
    classifier.set_params(tta=4).predict(paths)
    assert sorted(decoded) == sorted(paths)


def test_the_identity_tells_views_apart():
    X, _ = make_pictures(4)
    one = augmented(X).identity()
    assert augmented(X).identity() == one
    others = [augmented(X, "keras"), augmented(X, seed=4), augmented(X[::-1])]
    assert len({one, *(other.identity() for other in others)}) == 4


def test_the_identity_tells_engines_apart_where_their_values_differ():
    X, _ = make_pictures(4)
    choices = [
        EngineChoice(engine, "cpu", precision)
        for precision in ("float32", "bfloat16")
        for engine in ("torch", "openvino")
    ]
    views = augmented(X)
    found = [
        replace(views, one_pass=replace(views.one_pass, choice=choice)).identity()
        for choice in choices
    ]
    assert len(set(found)) == 2
    assert found[0] == found[1] == found[2] == views.identity()


def test_the_identity_tells_networks_and_preprocessings_apart():
    X, _ = make_pictures(4)
    pixels = decode(as_images(X), make_pass())

    def identity(seed, mean=PRESET.mean, **asked):
        preset = replace(PRESET, mean=mean)
        network = build_random("mnasnet0_5", seed)
        backbone = Backbone("mnasnet0_5", cut("mnasnet0_5", network), preset)
        one_pass = replace(make_pass(), network=backbone.feature_network(**asked))
        return Augmented(pixels, one_pass, "standard", 3).identity()

    different = [
        identity(0),
        identity(1),
        identity(0, pooling="avg"),
        identity(0, stage="level3"),
        identity(0, mean=(0.5, 0.5, 0.5)),
    ]
    assert len(set(different)) == len(different)
    assert identity(0) == different[0]


def test_the_identity_depends_on_what_a_transform_does():
    X, _ = make_pictures(4)

    def identity(by):
        return augmented(X, lambda picture: picture + by).identity()

    assert identity(1) == identity(1) != identity(2)


# The cache.


def use(folder, augment, keep):
    """The number of batches computed for three views, and their activations."""
    X, _ = make_pictures(6)
    network = FrozenNetwork([("colours", Colours())])
    before = Colours.calls
    one_pass = FrozenPass(network, PRESET, EngineChoice("torch"), 5, 2, cache=folder)
    whole = Augmented(decode(as_images(X), one_pass), one_pass, augment, 3, keep)
    views = [whole.activations(number).clone() for number in (None, 0, 1)]
    return Colours.calls - before, views


class Colours(torch.nn.Module):
    """Mean of each channel; counts its batches."""

    calls = 0

    def forward(self, x):
        Colours.calls += 1
        return x.float().mean((2, 3))


def test_named_views_are_kept(tmp_path):
    first, expected = use(tmp_path / "cache", "light", keep=True)
    assert first == 6  # two batches of three views
    second, again = use(tmp_path / "cache", "light", keep=True)
    assert second == 0
    assert all(torch.equal(a, b) for a, b in zip(expected, again, strict=True))
    assert not torch.equal(again[1], again[2])


def test_another_augmentation_does_not_get_the_views_kept(tmp_path):
    use(tmp_path / "cache", "light", keep=True)
    other, values = use(tmp_path / "cache", "standard", keep=True)
    assert other == 4  # the pictures without augmentation were stored
    _, expected = use(tmp_path / "another", "standard", keep=True)
    assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))


def test_views_are_not_kept_unless_requested(tmp_path):
    use(tmp_path / "cache", "light", keep=False)
    again, _ = use(tmp_path / "cache", "light", keep=False)
    assert again == 6


def test_views_by_a_transform_of_the_users_are_never_kept(tmp_path):
    # Two transforms of the same name that do different things.
    class Dimmed:
        def __init__(self, divisor):
            self.divisor = divisor

        def __call__(self, picture):
            return picture // self.divisor

        def __repr__(self):
            return "Dimmed()"

    use(tmp_path / "cache", Dimmed(1), keep=True)
    again, values = use(tmp_path / "cache", Dimmed(2), keep=True)
    assert again == 4  # all but the pictures without augmentation
    assert (values[1] < 0.6 * values[0]).all()


def test_a_fit_without_a_fixed_seed_keeps_no_views(tmp_path):
    X, y = make_pictures(6)
    for random_state, n_views in [(np.random.RandomState(0), 0), (0, 2)]:
        folder = tmp_path / str(n_views)
        make_classifier(
            cache=folder, engine="torch", random_state=random_state, augment="light", n_views=2
        ).fit(X, y)
        assert bool(sum(1 for path in folder.rglob("*") if path.is_file())) == bool(n_views)


# Memory.


@pytest.mark.parametrize("n_views", [2, None])
def test_little_memory_changes_nothing(monkeypatch, mapped, n_views):
    X, _ = make_pictures(6)
    rows = np.arange(6)
    expected = [augmented(X).views(n_views, rows)(number).clone() for number in range(2)]
    assert mapped == []
    monkeypatch.setenv("SKTRANSFER_MEMORY", "1kB")
    views = augmented(X).views(n_views, rows)
    got = [views(number).clone() for number in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert mapped == [(6, 32, 32, 3), (6, 3, 32, 32), (6, 3, 32, 32)]


def test_views_held_together_are_counted_together(monkeypatch, mapped):
    X, _ = make_pictures(6)
    one = 6 * 3 * 32 * 32
    monkeypatch.setenv("SKTRANSFER_MEMORY", str(2 * one))
    whole = augmented(X)
    whole.views(2, np.arange(6))
    whole.views(None, np.arange(6))(0)
    assert mapped == []
    whole.views(3, np.arange(6))
    assert mapped == [(6, 3, 32, 32)] * 3

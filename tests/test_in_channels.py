"""Pictures of other than three channels, and how `in_channels` meets the other parameters."""

import pickle
import warnings

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torchvision.transforms import v2

from sktransfer import (
    PretrainedImageClassifier,
    adapt_batch_norm,
    explain,
    free_memory,
    rank_backbones,
    register_backbone,
)
from sktransfer.activations import streaming
from sktransfer.activations.store.picture_keys import _digest_of_pixels
from sktransfer.backbones.features import Normalise
from sktransfer.backbones.frozen import state_digest
from sktransfer.backbones.names import REGISTERED
from sktransfer.estimators import fitted_backbone
from sktransfer.exceptions import BackboneError, ImageError, ImageWarning, ParameterError
from sktransfer.images.augmentation import AugmentedView
from sktransfer.images.preprocessing import RESIZES, Preprocessing
from sktransfer.images.sources import as_images
from sktransfer.inspection.thumbnails import thumbnails
from tests.conftest import make_pictures, save_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

RGB, Y = make_pictures(12)
BANDS = np.ascontiguousarray(RGB[..., [0, 1, 2, 1, 0]])
GREY = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in RGB])
PRESET = Preprocessing(40, 32, "bicubic", (0.5, 0.4, 0.3), (0.3, 0.2, 0.1))

both = pytest.mark.parametrize("make", [make_extractor, make_classifier])


@pytest.fixture
def unloaded(monkeypatch):
    """Fail if a backbone is loaded: errors in X come before."""

    def load(*_):
        raise AssertionError("a backbone was loaded")

    monkeypatch.setattr(fitted_backbone, "load_backbone", load)


@pytest.fixture
def passes(monkeypatch):
    """Numbers of pictures that engines were prepared for, one entry per batch that was computed."""
    found, original = [], streaming.engine_for

    def spy(network, start, inputs, *others):
        found.append(len(inputs))
        return original(network, start, inputs, *others)

    monkeypatch.setattr(streaming, "engine_for", spy)
    return found


# Forms of X.


def tensors(X):
    return torch.from_numpy(X.copy()).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "form",
    [
        list,
        tensors,
        lambda X: X / 255,
        lambda X: X.astype(np.uint16) * 257,
        lambda X: X.astype(int),
    ],
    ids=["list", "tensors", "floats", "16 bits", "integers"],
)
@pytest.mark.parametrize("X", [BANDS, BANDS[..., :4], BANDS[..., :2], GREY[..., None]], ids=len)
def test_the_same_picture_in_any_form(X, form):
    extractor = make_extractor(in_channels=X.shape[3])
    expected = extractor.fit_transform(X)
    np.testing.assert_array_equal(extractor.transform(form(X)), expected)


def test_rows_of_flattened_pixels():
    expected = make_extractor(in_channels=5).fit_transform(BANDS)
    flat = make_extractor(in_channels=5, image_shape=(32, 32, 5))
    rows = BANDS.reshape(12, -1)
    np.testing.assert_array_equal(flat.fit_transform(rows), expected)
    np.testing.assert_array_equal(flat.transform(BANDS), expected)


def test_one_channel_in_any_form(tmp_path):
    paths = save_pictures(RGB, tmp_path)
    extractor = make_extractor(in_channels=1)
    expected = extractor.fit_transform(GREY)
    flat = make_extractor(in_channels=1, image_shape=(32, 32)).fit(GREY.reshape(12, -1))
    images = [Image.fromarray(picture) for picture in RGB]
    others = [GREY[..., None], paths, images, [image.convert("L") for image in images]]
    for X in (*others, torch.from_numpy(GREY.copy())[:, None], GREY.astype(np.uint16) * 257):
        np.testing.assert_array_equal(extractor.transform(X), expected)
    np.testing.assert_array_equal(flat.transform(GREY.reshape(12, -1)), expected)


def test_a_fourth_channel_is_data_or_alpha():
    opaque, clear = (np.dstack([RGB[0], np.full((32, 32), a, np.uint8)]) for a in (255, 0))
    assert np.asarray(as_images([clear]).read(0)).min() == 255  # alpha: shown on white
    np.testing.assert_array_equal(as_images([opaque]).read(0), RGB[0])
    for X in (opaque, clear):
        np.testing.assert_array_equal(as_images([X], channels=4).read(0), X)


def test_16_bits_of_four_channels_are_judged_by_all_of_them():
    bands = np.full((8, 8, 4), 200, np.uint16)
    bands[..., 3] = 60_000  # as alpha, it would not count
    assert as_images([bands], channels=4).read(0)[0, 0].tolist() == [1, 1, 1, 233]
    with pytest.raises(ImageError, match="looks like 8-bit"):
        as_images([bands]).check()
    bands[..., 3] = 3000
    with pytest.warns(ImageWarning, match="4095 or less"):
        as_images([bands], channels=4).read(0)


WRONG = [
    (RGB, 5, r"in_channels=5 needs .*\(h, w, 5\); got 3 channels .*in_channels=3"),
    (BANDS, 3, r"1, 3 or 4 channels in its last axis; got 5 .*in_channels=5"),
    (BANDS, 4, r"\(h, w, 4\); got 5 channels .*Set in_channels=5"),
    (RGB, 1, r"in_channels=1 needs .*got 3 channels .*in_channels=3, or convert .*grey"),
    (GREY, 5, r"in_channels=5 needs arrays of shape \(n, h, w, 5\); got .*X\[None\]"),
    (list(GREY), 5, r"shape \(h, w, 5\) for in_channels=5; got \(32, 32\)"),
    (BANDS.transpose(0, 3, 1, 2), 5, "channels-first"),
    (np.zeros((2, 5, 8, 5), np.uint8), 5, "channels-first or channels-last.*image_shape"),
    (torch.from_numpy(BANDS), 5, r"\(5, h, w\).*permute"),
    (torch.zeros(5, 8, 8), 5, r"\(n, 5, h, w\)"),
    (tensors(BANDS), 3, "set in_channels"),
    ([Image.fromarray(RGB[0])], 5, "in_channels=5 needs arrays .* PIL image.* grey"),
    (["picture.png"], 4, r"row 0 of X \('picture.png'\): in_channels=4 needs arrays .*path"),
]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(("X", "channels", "message"), WRONG)
@both
def test_x_of_other_channels_is_an_error(make, X, channels, message):
    with pytest.raises(ImageError, match=message):
        make(in_channels=channels).fit(X, Y[: len(X)])


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("channels", "shape", "message"),
    [
        (5, (8, 8), r"must be \(h, w, 5\) for in_channels=5"),
        (5, (8, 8, 3), r"must be \(h, w, 5\)"),
        (1, (8, 8, 3), r"\(h, w\) or \(h, w, 1\) for in_channels=1"),
        (3, (8, 8, 5), "c 1, 3 or 4 for in_channels=3"),
        (0, None, "in_channels.*1, 512"),
        (513, None, "in_channels.*1, 512"),
        (2.0, None, "in_channels"),
    ],
)
@both
def test_parameters_that_contradict_each_other(make, channels, shape, message):
    with pytest.raises(ValueError, match=message):
        make(in_channels=channels, image_shape=shape).fit(BANDS, Y)


# Squares.


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("shape", [(50, 70), (70, 50), (20, 20), (40, 40), (900, 3)])
def test_each_channel_gets_the_pixels_that_it_has_in_rgb(interpolation, resize, crop_mode, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    rgb = Preprocessing(
        *(40, 32, interpolation, PRESET.mean, PRESET.std), resize=resize, crop_mode=crop_mode
    )
    found = rgb.with_channels(5)(picture[..., [0, 1, 2, 0, 1]])
    np.testing.assert_array_equal(found, rgb(picture)[..., [0, 1, 2, 0, 1]])


def test_mean_and_std_follow_the_weights():
    assert PRESET.with_channels(3) is PRESET
    five, one = PRESET.with_channels(5), PRESET.with_channels(1)
    assert five.mean == (0.5, 0.4, 0.3, 0.5, 0.4)
    assert five.std == (0.3, 0.2, 0.1, 0.3, 0.2)
    assert (one.mean, one.std) == (pytest.approx((0.4,)), pytest.approx((0.2,)))
    keys = [PRESET.with_channels(n).resized(r).cache_key for n in (1, 3, 5) for r in RESIZES]
    assert len(set(keys)) == 9


def test_keys_of_rgb_pictures_are_those_of_versions_without_in_channels():
    assert PRESET.cache_key == "resize 40 bicubic crop 32"
    assert PRESET.resized("pad").cache_key == "pad 32 bicubic"
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for X in ([picture], [Image.fromarray(picture)]):
        assert _digest_of_pixels(as_images(X), 0).hex()[:16] == "5f39028934c36780"


# The other parameters.


@pytest.mark.parametrize("X", [BANDS, GREY], ids=["bands", "grey"])
def test_the_cache_serves_later_calls_and_keeps_channels_apart(tmp_path, passes, X):
    paths = save_pictures(RGB, tmp_path)
    first = make_extractor(in_channels=1 if X is GREY else 5, cache=tmp_path / "cache")
    expected = first.fit_transform(X)
    assert sum(passes) == 12
    np.testing.assert_array_equal(first.transform(X), expected)
    assert sum(passes) == 12
    # The same files, as RGB and as grey.
    for channels in (3, 1):
        kept, plain = (make_extractor(in_channels=channels, cache=c) for c in (first.cache, None))
        np.testing.assert_array_equal(kept.fit_transform(paths), plain.fit_transform(paths))


def test_stored_pixels_of_files_are_kept_apart(tmp_path):
    # At depth "all" the store holds pixels, by the content of files.
    paths, options = save_pictures(RGB, tmp_path), {"unfreeze_depth": "all", "max_epochs": 1}
    for channels in (3, 1):
        kept, plain = (
            make_classifier(in_channels=channels, cache=cache, **options).fit(paths, Y)
            for cache in (tmp_path / "cache", None)
        )
        np.testing.assert_array_equal(kept.predict_proba(paths), plain.predict_proba(paths))


@both
def test_pickles(make):
    model = make(in_channels=5).fit(BANDS, Y)
    ask = model.transform if make is make_extractor else model.predict_proba
    opened = pickle.loads(pickle.dumps(model))
    free_memory()
    found = (opened.transform if make is make_extractor else opened.predict_proba)(BANDS)
    np.testing.assert_array_equal(found, ask(BANDS))


def test_pickles_of_versions_without_in_channels():
    model = make_classifier(warm_start=True).fit(RGB, Y)
    expected = model.predict_proba(RGB)
    del model.__dict__["_model"].backbone.reference.__dict__["in_channels"]
    del model.__dict__["_model"].architecture.__dict__["in_channels"]
    del model.__dict__["in_channels"]
    opened = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(opened.predict_proba(RGB), expected)
    opened.fit(RGB, Y)
    with pytest.raises(ParameterError, match="in_channels was 3 in it and is 5"):
        opened.set_params(in_channels=5).fit(BANDS, Y)


@both
def test_a_fit_keeps_its_channels(make):
    model = make(in_channels=5).fit(BANDS, Y)
    ask = model.transform if make is make_extractor else model.predict_proba
    expected = ask(BANDS)
    model.set_params(in_channels=3)
    np.testing.assert_array_equal(ask(BANDS), expected)
    with pytest.raises(ImageError, match="in_channels=5"):
        ask(RGB)


def test_searches_and_clones():
    classifier = clone(make_classifier(in_channels=5))
    assert classifier.in_channels == 5
    candidates = {"backbone": ["mnasnet0_5", "squeezenet1_1"], "resize": ["crop", "pad"]}
    search = GridSearchCV(classifier, candidates, cv=2, error_score="raise").fit(BANDS, Y)
    assert search.best_estimator_.predict(BANDS).shape == (12,)


@pytest.mark.parametrize("channels", [1, 5])
def test_engines_agree(channels):
    pytest.importorskip("openvino")
    X = GREY if channels == 1 else BANDS
    options = {"backbone": LITE0, "in_channels": channels, "image_size": 64}
    torch_, openvino = (
        make_extractor(engine=engine, **options).fit_transform(X)
        for engine in ("torch", "openvino")
    )
    np.testing.assert_allclose(openvino, torch_, rtol=0, atol=1e-4 * abs(torch_).max())


def test_shorter_precision():
    options = {"backbone": LITE0, "in_channels": 5, "image_size": 64, "engine": "torch"}
    full, short = (
        make_extractor(precision=precision, **options).fit_transform(BANDS)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < abs(full - short).max() < 0.1 * abs(full).max()


def first_weight(classifier):
    modules = classifier.net_.module_.modules()
    return next(module.weight for module in modules if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("channels", [1, 5])
def test_the_first_convolution_trains_at_depth_all(channels):
    X = GREY if channels == 1 else BANDS
    options = {"in_channels": channels, "unfreeze_depth": "all", "max_epochs": 2, "lr": 1e-3}
    trained = first_weight(make_classifier(**options).fit(X, Y))
    still = first_weight(make_classifier(**{**options, "lr": 1e-12}).fit(X, Y))
    assert trained.shape[1] == channels
    assert (trained - still).abs().max() > 1e-4


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_fits_continue(depth):
    options = {"in_channels": 5, "unfreeze_depth": depth, "max_epochs": 1 if depth else 10}
    classifier = make_classifier(warm_start=True, **options).fit(BANDS, Y).fit(BANDS, Y)
    assert classifier.score(BANDS, Y) >= 0.5
    in_pieces = make_classifier(**options).partial_fit(BANDS, Y).partial_fit(BANDS[:4], Y[:4])
    for model in (classifier, in_pieces):
        with pytest.raises(ParameterError, match="in_channels was 5 in it and is 4"):
            model.set_params(in_channels=4).partial_fit(BANDS[..., :4], Y)


@pytest.mark.parametrize("augment", ["light", "keras", v2.RandomRotation(30)])
@pytest.mark.parametrize("channels", [1, 5])
def test_augmentations_that_move_pixels(augment, channels):
    X = GREY if channels == 1 else BANDS
    options = {"in_channels": channels, "augment": augment, "n_views": 2, "tta": 2}
    assert make_classifier(**options).fit(X, Y).predict_proba(X).shape == (12, 2)


@pytest.mark.parametrize("augment", ["light", "keras"])
def test_channels_move_together(augment):
    view = AugmentedView(augment, 32, seed=1)
    found = view(np.dstack([RGB[0, ..., 0]] * 5))
    assert (found != found[..., :1]).sum() == 0
    assert (found[..., 0] != RGB[0, ..., 0]).any()


@pytest.mark.parametrize("augment", ["standard", "trivial"])
@pytest.mark.parametrize("channels", [1, 5])
def test_augmentations_of_colours_are_an_error(augment, channels, request):
    X = GREY if channels == 1 else BANDS
    message = f"augment='{augment}' changes the colours .*in_channels={channels}"
    fitted = make_classifier(in_channels=channels, tta=2).fit(X, Y)
    with pytest.raises(ParameterError, match=message):
        fitted.set_params(augment=augment).predict(X)
    request.getfixturevalue("unloaded")
    with pytest.raises(ParameterError, match=message):
        make_classifier(in_channels=channels, augment=augment).fit(X, Y)


def test_choices_by_evidence():
    X, y = make_pictures(24)
    wide = np.concatenate([X, X], axis=2)[..., [0, 1, 2, 1, 0]]
    classifier = make_classifier(in_channels=5, resize="auto", unfreeze_depth="auto").fit(wide, y)
    assert set(classifier.resize_scores_) == set(RESIZES)
    assert classifier.unfreeze_depth_scores_ is not None


def test_pictures_that_cannot_be_read(tmp_path):
    paths = save_pictures(RGB[:2], tmp_path)
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    extractor = make_extractor(in_channels=1, on_error="nan")
    with pytest.warns(ImageWarning, match="could not be read"):
        found = extractor.fit_transform([*paths, str(tmp_path / "damaged.png")])
    assert np.isnan(found).all(axis=1).tolist() == [False, False, True]


# Other sources, and functions that take estimators.


@pytest.mark.parametrize("name", ["timm/test_vit.r160_in1k", "timm/test_resnet.r160_in1k"])
def test_networks_of_timm(name):
    pytest.importorskip("timm")
    options = {"backbone": name, "in_channels": 5, "image_size": 64}
    classifier = make_classifier(unfreeze_depth="all", max_epochs=1, **options).fit(BANDS, Y)
    assert first_weight(classifier).shape[1] == 5
    assert make_extractor(**options).fit_transform(BANDS).shape[0] == 12


def register(n_channels, mean):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(n_channels, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2))
    preprocessing = {"image_size": 32, "mean": mean, "std": [0.2] * len(mean)}
    register_backbone("mine/bands", lambda: network, preprocessing=preprocessing)


@pytest.fixture
def forgotten():
    yield
    REGISTERED.registrations.pop("mine/bands", None)
    free_memory()


@pytest.mark.usefixtures("forgotten")
def test_registered_networks_are_adapted():
    register(3, [0.5] * 3)
    options = {"backbone": "mine/bands", "weights": "DEFAULT"}
    for X, channels in ((RGB, 3), (BANDS, 5), (GREY, 1)):
        extractor = make_extractor(in_channels=channels, **options)
        assert extractor.fit_transform(X).shape == (12, 16)
    twice = make_extractor(in_channels=6, **options).fit_transform(np.concatenate([RGB, RGB], 3))
    rgb = make_extractor(**options).fit_transform(RGB)
    np.testing.assert_allclose(twice, rgb, rtol=0, atol=1e-5 * abs(rgb).max())


@pytest.mark.usefixtures("forgotten")
def test_networks_may_be_registered_for_other_channels():
    register(5, [0.5] * 5)
    options = {"backbone": "mine/bands", "weights": "DEFAULT"}
    model = make_classifier(in_channels=5, unfreeze_depth=1, max_epochs=1, **options)
    assert model.fit(BANDS, Y).predict(BANDS).shape == (12,)
    with pytest.raises(BackboneError, match=r"pictures of 5 channels, but in_channels=3\. Set"):
        make_extractor(**options).fit(RGB)
    with pytest.raises(BackboneError, match="mine/bands can't run on pictures"):
        register(3, [0.5] * 5)


def test_rankings():
    two = [make_extractor(in_channels=5, weights=None, pooling=p) for p in ("avg", "max")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranking = rank_backbones(BANDS, Y, two, cv=2, fine_tune_top=1)
    assert not ranking.skipped
    assert "in_channels=5" in ranking.backbone[0]
    with pytest.raises(ParameterError, match="the same in_channels"):
        rank_backbones(BANDS, Y, [two[0], "mnasnet0_5"])


def test_other_statistics():
    options = {"in_channels": 5, "backbone": LITE0, "weights": "DEFAULT"}
    fitted = make_classifier(**options).fit(BANDS, Y)
    adapted = adapt_batch_norm(fitted, 255 - BANDS, X_source=BANDS)
    assert isinstance(adapted, PretrainedImageClassifier)
    assert adapted.predict(BANDS).shape == (12,)
    with pytest.raises(ImageError, match=r"X_target can't be used: .*in_channels=5"):
        adapt_batch_norm(fitted, RGB)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_displays_show_three_channels(channels):
    images = as_images(BANDS[..., :channels], channels=channels)
    found = thumbnails(images, [0, 1], 16).pictures
    assert [each.shape for each in found] == [(16, 16, 3)] * 2
    shown = BANDS[:2, ..., [0, 1, 2] if channels == 5 else [0, 0, 0]]
    expected = thumbnails(as_images(shown), [0, 1], 16).pictures
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [1, 5])
def test_explanations(channels):
    X = GREY if channels == 1 else BANDS
    options = {"backbone": LITE0, "weights": "DEFAULT", "image_size": 64, "in_channels": channels}
    classifier = make_classifier(**options).fit(X, Y)
    for method in ("cam", "occlusion"):
        explanation = explain(classifier, X[:2], method=method)
        assert explanation.maps.shape == (2, 64, 64)
        assert explanation.on_original(0).shape == (32, 32)


def test_a_teacher_may_see_other_channels(tmp_path):
    paths = save_pictures(RGB, tmp_path)
    teacher = make_classifier().fit(paths, Y)
    student = make_classifier(in_channels=1, distill_from=teacher).fit(paths, Y)
    assert student.predict(paths).shape == (12,)


def test_normalisation_of_rgb_has_the_digest_of_versions_without_in_channels():
    assert state_digest(Normalise(PRESET)).hex()[:16] == "d4ec1383bbd24d3c"


def test_three_grey_pictures_are_no_colour_picture():
    model = make_classifier(in_channels=1).fit(GREY, Y)
    np.testing.assert_array_equal(model.predict(GREY[:3]), model.predict(GREY)[:3])


def test_weights_files_without_a_classifier(tmp_path):
    state = torchvision.models.mnasnet0_5().state_dict()
    features = {name: value for name, value in state.items() if "classifier" not in name}
    torch.save(features, tmp_path / "features.pth")
    extractor = make_extractor(weights=tmp_path / "features.pth", in_channels=5)
    assert np.isfinite(extractor.fit_transform(BANDS)).all()

"""Predictions: their forms, their mean over several passes, their spread and calibration."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.metrics import log_loss
from torch import nn
from torchvision.transforms import v2

from sktransfer import load_clipart
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import AugmentedView
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

pretrained = partial(make_classifier, backbone=LITE0)


def noisy(n=24, n_classes=3, seed=0):
    """Make pictures that are hard to classify, so that probabilities are not near 0 or 1."""
    X, y = make_pictures(n, n_classes=n_classes, seed=seed)
    noise = np.random.default_rng(seed + 10).integers(0, 256, X.shape)
    return (0.2 * X + 0.8 * noise).astype(np.uint8), y


X, Y = noisy()
TEST, TEST_Y = noisy(seed=1)
DROPPED = {"dropout": 0.5, "max_epochs": 2}


@pytest.fixture(scope="module")
def plain():
    return pretrained().fit(X, Y)


@pytest.fixture(scope="module")
def dropped():
    return pretrained(**DROPPED).fit(X, Y)


def using(fitted, **parameters):
    """Return the same fitted model with other parameters for prediction."""
    other = clone(fitted)
    vars(other).update(vars(fitted))
    return other.set_params(**parameters)


def as_it_comes(fitted):
    """Return the same model without resizing, for pictures that have its input size already."""
    other = using(fitted)
    backbone = fitted._model.backbone
    as_it_is = replace(backbone.preprocessing, resize_size=32)
    other._model = replace(fitted._model, backbone=replace(backbone, preprocessing=as_it_is))
    return other


# predict, predict_proba and decision_function agree.


@pytest.mark.parametrize(
    ("loss", "n_classes", "extra"),
    [
        *product(["cross_entropy", "binary_cross_entropy"], [2, 3], [{}, {"tta": 2}]),
        ("cross_entropy", 2, {"mc_dropout": 4, **DROPPED}),
        ("binary_cross_entropy", 3, {"mc_dropout": 4, **DROPPED}),
        ("focal", 3, {}),
        ("focal", 2, {"tta": 2}),
        (nn.MultiMarginLoss, 2, {}),
        (nn.MultiMarginLoss, 3, {"tta": 2}),
    ],
)
def test_three_forms_agree(loss, n_classes, extra):
    X, y = noisy(12, n_classes=n_classes)
    labels = np.array(["a", "b", "c"])[y]
    classifier = pretrained(loss=loss, **{"max_epochs": 10, **extra}).fit(X, labels)
    probabilities = classifier.predict_proba(TEST)
    scores = classifier.decision_function(TEST)
    assert probabilities.dtype == scores.dtype == np.float32
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert_allclose(np.exp(classifier.predict_log_proba(TEST)), probabilities, rtol=1e-4)
    best = scores.argmax(axis=1) if n_classes > 2 else (scores > 0).astype(int)
    assert scores.shape == ((24, 3) if n_classes > 2 else (24,))
    assert_array_equal(classifier.predict(TEST), classifier.classes_[probabilities.argmax(axis=1)])
    assert_array_equal(classifier.predict(TEST), classifier.classes_[best])
    if n_classes == 2:
        odds = np.log(probabilities[:, 1] / probabilities[:, 0])
        assert_allclose(scores, odds, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("extra", [{}, {"tta": 3}, {"mc_dropout": 4}, {"tta": 2, "mc_dropout": 2}])
def test_a_picture_gets_the_same_answer_in_any_company(dropped, extra):
    classifier = using(dropped, **extra)
    expected = classifier.predict_proba(TEST)
    others = {
        "batches": using(classifier, batch_size=5).predict_proba(TEST),
        "order": classifier.predict_proba(TEST[::-1])[::-1],
        "alone": np.concatenate([classifier.predict_proba(TEST[i : i + 1]) for i in range(4)]),
        "twice": classifier.predict_proba(np.concatenate([TEST[:5], TEST]))[5:],
        "again": classifier.predict_proba(TEST),
    }
    for values in others.values():
        assert_allclose(values, expected[: len(values)], rtol=1e-4, atol=1e-6)
    assert_array_equal(others["again"], expected)


# Views of the picture.


def test_tta_is_the_mean_over_views_by_hand(plain):
    classifier = as_it_comes(plain).set_params(tta=3)
    seed = classifier._model.seeds.views
    views = [TEST] + [
        np.stack([AugmentedView("light", 32, seed, n)(Image.fromarray(x)) for x in TEST])
        for n in range(2)
    ]
    one = as_it_comes(plain)
    by_hand = np.mean([one.predict_proba(view) for view in views], axis=0)
    assert_allclose(classifier.predict_proba(TEST), by_hand, rtol=1e-4, atol=1e-6)
    assert np.abs(by_hand - one.predict_proba(TEST)).max() > 1e-3


def test_tta_uses_the_augmentation_of_training():
    fits = [
        as_it_comes(pretrained(augment=augment, n_views=2, tta=2).fit(X, Y))
        for augment in ("light", v2.RandomVerticalFlip(p=1))
    ]
    flipped = as_it_comes(fits[1]).set_params(tta=None)
    by_hand = (flipped.predict_proba(TEST) + flipped.predict_proba(TEST[:, ::-1])) / 2
    assert_allclose(fits[1].predict_proba(TEST), by_hand, rtol=1e-4, atol=1e-6)
    assert not np.allclose(fits[0].predict_proba(TEST), by_hand, atol=1e-3)


def test_tta_reads_each_picture_as_often_as_fit_did_not(plain, picture_files, decoded):
    paths, _ = picture_files
    using(plain, tta=5).predict_proba(paths)
    assert sorted(decoded) == sorted(paths)


@pytest.mark.parametrize("value", [1, 0, -2, 2.5, "many"])
@pytest.mark.parametrize("name", ["tta", "mc_dropout"])
def test_one_view_or_draw_is_none(name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        pretrained(dropout=0.5, **{name: value}).fit(X, Y)


# Draws of dropout.


def test_mc_dropout_gives_a_mean_and_a_spread(dropped):
    classifier = using(dropped, mc_dropout=30)
    mean, spread = classifier.predict_proba(TEST, return_std=True)
    assert mean.shape == spread.shape == (24, 3)
    assert mean.dtype == spread.dtype == np.float32
    assert_array_equal(mean, classifier.predict_proba(TEST))
    assert_allclose(mean.sum(axis=1), 1, rtol=1e-5)
    assert (spread > 0).all()
    assert (spread <= 0.5).all()
    assert np.abs(mean - dropped.predict_proba(TEST)).max() > 1e-3


def test_mc_dropout_is_surer_of_what_is_easy():
    easy, y = make_pictures(24)
    classifier = pretrained(mc_dropout=20, **DROPPED).fit(easy, y)
    _, spread = classifier.predict_proba(easy, return_std=True)
    _, doubts = classifier.predict_proba(TEST, return_std=True)
    assert spread.mean() < doubts.mean()


def test_more_draws_begin_with_the_fewer(dropped):
    few, spread = using(dropped, mc_dropout=2).predict_proba(TEST, return_std=True)
    draws = few - spread, few + spread  # two values differ from their mean by their spread
    third = 3 * using(dropped, mc_dropout=3).predict_proba(TEST) - 2 * few
    assert_allclose(third.sum(axis=1), 1, rtol=1e-4)
    assert third.min() > -1e-5
    assert np.abs(draws[1] - draws[0]).max() > 1e-3


def test_views_spread_too(plain):
    mean, spread = using(plain, tta=4).predict_proba(TEST, return_std=True)
    assert mean.shape == spread.shape == (24, 3)
    assert (spread > 0).all()


def test_hidden_layers_are_drawn_too():
    classifier = pretrained(hidden_layer_sizes=(16,), mc_dropout=5, **DROPPED).fit(X, Y)
    _, spread = classifier.predict_proba(TEST, return_std=True)
    assert spread.mean() > 1e-4


def test_a_spread_needs_several_draws(plain):
    with pytest.raises(ParameterError, match=r"return_std.*tta=None and mc_dropout=None"):
        plain.predict_proba(TEST, return_std=True)


def test_draws_need_dropout_in_the_fitted_head(plain):
    with pytest.raises(ParameterError, match=r"mc_dropout=5.*fitted head has dropout=0"):
        using(plain, mc_dropout=5).predict(TEST)
    with pytest.raises(ParameterError, match=r"mc_dropout=5"):  # dropout has to be set before fit
        using(plain, mc_dropout=5, dropout=0.5).predict(TEST)


# Calibration.


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Drawings, their labels, and a parameter that caches their activations."""
    paths, y = load_clipart(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:150]
    return paths[order], y[order], {"cache": tmp_path_factory.mktemp("cache")}


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_calibration_keeps_predictions_and_lowers_the_loss_on_held_out_rows(drawings, loss):
    paths, y, cached = drawings
    held_out = {"validation_data": (paths[90:], y[90:])}
    given = {"loss": loss, "weight_decay": 1e-6, "max_epochs": 30, **cached}
    plain = pretrained(**given).fit(paths[:90], y[:90], **held_out)
    calibrated = pretrained(**given, calibrate="temperature").fit(paths[:90], y[:90], **held_out)
    assert plain.temperature_ == 1
    assert calibrated.temperature_ > 1.5  # it had overfitted, and was overconfident
    assert_array_equal(calibrated.predict(paths), plain.predict(paths))
    before = log_loss(y[90:], plain.predict_proba(paths[90:]))
    after = log_loss(y[90:], calibrated.predict_proba(paths[90:]))
    assert after < before - 0.05


def test_calibration_on_a_share_lowers_its_loss_but_trusts_few_rows_little(drawings):
    paths, y, cached = drawings
    rows = np.arange(len(y))
    split = [(rows[rows % 3 > 0], rows[rows % 3 == 0])]
    splitter = _Given(split)
    classifier = pretrained(calibrate="temperature", validation_fraction=splitter, **cached)
    classifier.fit(paths, y)
    held_out = rows % 3 == 0
    losses = []
    for power in (0, 0.9, 1, 1.1):
        other = using(classifier)
        temperature = classifier.temperature_**power
        other._model = replace(classifier._model, temperature=temperature)
        losses.append(log_loss(y[held_out], other.predict_proba(paths[held_out])))
    assert losses[0] > losses[1] > losses[2] > losses[3]


def test_calibration_leaves_out_rows_of_weight_0(drawings):
    paths, y, cached = drawings
    rows = np.arange(len(y))
    held_out, none = rows % 3 == 0, rows % 6 == 0
    weights = np.where(none, 0.0, 1.0)
    splits = [_Given([(rows[~held_out], rows[kept])]) for kept in (held_out, held_out & ~none)]
    temperatures = []
    for splitter, weight in ((splits[0], weights), (splits[1], None), (splits[0], None)):
        classifier = pretrained(calibrate="temperature", validation_fraction=splitter, **cached)
        temperatures.append(classifier.fit(paths, y, sample_weight=weight).temperature_)
    assert temperatures[0] == pytest.approx(temperatures[1], rel=1e-3)
    assert temperatures[0] != pytest.approx(temperatures[2], rel=1e-2)


def test_one_heavy_row_does_not_speak_for_all(drawings):
    paths, y, cached = drawings
    held_out = np.arange(len(y)) % 3 == 0
    splitter = _Given([(np.flatnonzero(~held_out), np.flatnonzero(held_out))])
    given = {"calibrate": "temperature", "validation_fraction": splitter, "weight_decay": 1e-6}
    for heavy in (6, 9):
        weights = np.ones(len(y))
        weights[heavy] = 1e4
        classifier = pretrained(**given, **cached).fit(paths, y, sample_weight=weights)
        assert classifier.temperature_ == pytest.approx(1, abs=0.05)


class _Given:
    """A splitter that returns the given splits."""

    def __init__(self, splits):
        self.splits = splits

    def split(self, X, y=None, groups=None):
        return iter(self.splits)

    def get_n_splits(self, X=None, y=None, groups=None):
        return len(self.splits)


def test_the_temperature_is_forgotten_by_the_next_fit():
    classifier = pretrained(calibrate="temperature", validation_fraction=0.3).fit(X, Y)
    assert classifier.temperature_ != 1
    assert classifier.set_params(calibrate=None).fit(X, Y).temperature_ == 1


def test_another_way_of_asking_needs_no_cache(tmp_path):
    cached = make_classifier(cache=tmp_path / "cache", tta=3).fit(X, Y)
    expected = make_classifier(tta=3).fit(X, Y).predict_proba(TEST)
    for _ in range(2):
        assert_allclose(cached.predict_proba(TEST), expected, rtol=1e-5)

import copy
import importlib.util
import logging

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from torch import nn

from sktransfer.exceptions import ImageError, ParameterError, UnreadableImageError
from sktransfer.inspection.explanation import explain
from sktransfer.inspection.explanation.explain import METHODS
from tests.conftest import save_pictures
from tests.inspection.explanation.patches import (
    NAME,
    SIDE,
    patch_pictures,
    share_of_peaks_inside,
)
from tests.pretended_devices import pretending
from tests.small_estimators import make_classifier, make_extractor

X, LABELS, _ = patch_pictures(60)
X_TEST, LABELS_TEST, CORNERS = patch_pictures(40, seed=1)
INDICATOR = np.stack([LABELS == "red", LABELS == "blue", np.arange(60) % 3 == 0], axis=1).astype(
    int
)
SMALL = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}
WITH_LAYERS = {"hidden_layer_sizes": (16,), "max_epochs": 40, "lr": 0.01}

needs_grad_cam = pytest.mark.skipif(
    importlib.util.find_spec("pytorch_grad_cam") is None, reason="grad-cam is not installed"
)


def fitted(y=LABELS, **parameters):
    return make_classifier(**{**SMALL, **parameters}).fit(X, y)


def pipeline(*steps, y=LABELS, **parameters):
    extractor = make_extractor(**{**SMALL, **parameters})
    return make_pipeline(extractor, *steps).fit(X, y)


@pytest.mark.parametrize(
    "method", ["cam", "occlusion", pytest.param("gradcam", marks=needs_grad_cam)]
)
def test_the_peak_lies_in_the_patch_that_decides(method):
    for model in (fitted(), pipeline(LogisticRegression())):
        explanation = explain(model, X_TEST, LABELS_TEST, method)
        assert explanation.method == method
        assert share_of_peaks_inside(explanation.maps, CORNERS) >= 0.95


@needs_grad_cam
@pytest.mark.parametrize("parameters", [WITH_LAYERS, {"pooling": "max"}], ids=str)
def test_the_peak_lies_in_the_patch_where_only_grad_cam_can_find_it(parameters):
    explanation = explain(fitted(**parameters), X_TEST, LABELS_TEST)
    assert explanation.method == "gradcam"
    assert share_of_peaks_inside(explanation.maps, CORNERS) >= 0.95


@needs_grad_cam
@pytest.mark.parametrize(
    "model",
    [
        lambda: fitted(),
        lambda: fitted(unfreeze_depth=1, max_epochs=2),
        lambda: fitted(unfreeze_depth="all", max_epochs=2),
        lambda: fitted(dropout=0.5, max_epochs=2),
        lambda: fitted(head_init="random", optimizer="sgd", max_epochs=2),
        lambda: fitted(loss="binary_cross_entropy"),
        lambda: pipeline(StandardScaler(), LogisticRegression()),
        lambda: pipeline(LinearSVC()),
        lambda: pipeline(SGDClassifier(random_state=0)),
        lambda: pipeline(RidgeClassifier(), stage="level2"),
        lambda: pipeline(LogisticRegression(), pooling="avg"),
    ],
)
def test_grad_cam_equals_the_closed_form_where_both_hold(model):
    model = model()
    maps = [explain(model, X_TEST[:6], "red", method).maps for method in ("cam", "gradcam")]
    assert maps[0].max() == 1
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)


def similarity(one, other):
    """The mean rank correlation of maps of the same pictures; 0 for a map that is constant."""
    pairs = [(a.ravel(), b.ravel()) for a, b in zip(one, other, strict=True)]
    return np.mean([spearmanr(a, b)[0] if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs])


@pytest.mark.parametrize(
    "method", ["cam", "occlusion", pytest.param("gradcam", marks=needs_grad_cam)]
)
def test_maps_change_when_weights_are_randomised(method):
    """The sanity check of Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018."""
    model = fitted(unfreeze_depth=1, max_epochs=2)
    maps = explain(model, X_TEST[:10], "red", method).maps
    assert similarity(maps, explain(copy.deepcopy(model), X_TEST[:10], "red", method).maps) > 0.999
    for part in ("head", "stages"):
        randomised = copy.deepcopy(model)
        for parameter in getattr(randomised.net_.module_, part).parameters():
            nn.init.normal_(parameter.data)
        other = explain(randomised, X_TEST[:10], "red", method).maps
        assert similarity(maps, other) < 0.6, part


def test_maps_are_at_the_size_of_the_square_and_reach_from_0_to_1():
    explanation = explain(fitted(), X_TEST)
    assert explanation.maps.shape == (40, SIDE, SIDE)
    assert explanation.maps.dtype == np.float32
    assert explanation.maps.min() >= 0
    np.testing.assert_array_equal(explanation.maps.max((1, 2)), 1)
    assert (explanation.method, len(explanation)) == ("cam", 40)
    assert repr(explanation) == "<Explanation of 40 pictures by 'cam'>"


def test_without_a_target_the_predicted_class():
    model = fitted()
    explanation = explain(model, X_TEST)
    np.testing.assert_array_equal(explanation.target, model.predict(X_TEST))
    same = explain(model, X_TEST, model.predict(X_TEST))
    np.testing.assert_array_equal(explanation.maps, same.maps)


@pytest.mark.parametrize("method", METHODS[1:])
def test_each_class_has_its_own_maps(method):
    model = fitted()
    red, blue = (explain(model, X_TEST[:4], label, method).maps for label in ("red", "blue"))
    assert abs(red - blue).mean() > 0.1
    mixed = explain(model, X_TEST[:4], ["red", "blue", "red", "blue"], method).maps
    np.testing.assert_allclose(mixed[::2], red[::2], atol=1e-5)
    np.testing.assert_allclose(mixed[1::2], blue[1::2], atol=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [
        {"calibrate": "temperature", "validation_fraction": 0.2},
        {"tta": 3},
        {"dropout": 0.5, "mc_dropout": 3, "max_epochs": 30, "lr": 0.01},
    ],
    ids=str,
)
def test_prediction_options(parameters):
    for method in METHODS[1:]:
        explanation = explain(fitted(**parameters), X_TEST[:10], LABELS_TEST[:10], method)
        assert share_of_peaks_inside(explanation.maps, CORNERS[:10]) >= 0.9


def test_several_labels():
    for model in (
        fitted(INDICATOR, loss="binary_cross_entropy"),
        pipeline(OneVsRestClassifier(LogisticRegression()), y=INDICATOR),
    ):
        number = np.where(LABELS_TEST == "red", 0, 1)
        explanation = explain(model, X_TEST, number)
        assert explanation.method == "cam"
        assert share_of_peaks_inside(explanation.maps, CORNERS) >= 0.95
        most_likely = model.predict_proba(X_TEST).argmax(1)
        np.testing.assert_array_equal(explain(model, X_TEST).target, most_likely)
        explain(model, X_TEST[:2], 1, "occlusion")


def test_a_search_and_flattened_rows():
    search = GridSearchCV(make_classifier(**SMALL), {"dropout": [0.0]}, cv=2).fit(X, LABELS)
    best = search.best_estimator_
    np.testing.assert_array_equal(explain(search, X_TEST).maps, explain(best, X_TEST).maps)
    rows = X.reshape(len(X), -1)
    flat = make_classifier(**SMALL, image_shape=(SIDE, SIDE, 3)).fit(rows, LABELS)
    for method in ("cam", "occlusion"):
        from_rows = explain(flat, rows[:3], method=method).maps
        np.testing.assert_allclose(
            from_rows, explain(fitted(), X[:3], method=method).maps, atol=1e-4
        )


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: pipeline(KNeighborsClassifier()), "KNeighborsClassifier, is no linear model"),
        (lambda: pipeline(SVC()), "SVC, is no linear model"),
        (lambda: pipeline(RandomForestClassifier(10, random_state=0)), "is no linear model"),
        (lambda: pipeline(Normalizer(), LogisticRegression()), "Normalizer, between the extractor"),
        (
            lambda: pipeline(LogisticRegression(), stage=["level1", "level2"]),
            r"stage=\('level1', 'level2'\)",
        ),
        (
            lambda: CalibratedClassifierCV(make_classifier(**SMALL), cv=2).fit(X, LABELS),
            "no network",
        ),
        (
            lambda: VotingClassifier([("a", make_classifier(**SMALL))]).fit(X, LABELS),
            "VotingClassifier has no network",
        ),
        (lambda: make_classifier().fit(X, LABELS), "no map with several positions"),
    ],
)
def test_elsewhere_occlusion_and_that_is_said(model, reason, caplog):
    model = model()
    with caplog.at_level(logging.WARNING, "sktransfer"):
        explanation = explain(model, X_TEST[:3], "red")
    assert explanation.method == "occlusion"
    assert "82 predictions for each" in caplog.text
    for method in ("cam", "gradcam"):
        with pytest.raises(ParameterError, match=reason):
            explain(model, X_TEST[:3], "red", method)


def test_a_head_with_layers_has_no_closed_form():
    for model in (fitted(**WITH_LAYERS), fitted(pooling="max"), fitted(pooling="flatten")):
        with pytest.raises(ParameterError, match=r"activation map needs .* method='gradcam'"):
            explain(model, X_TEST[:2], method="cam")


def test_without_the_library_auto_hides_parts_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr("sktransfer.inspection.explanation.grad_cam.find_spec", {}.get)
    model = fitted(pooling="max")
    assert explain(model, X_TEST[:2]).method == "occlusion"
    assert 'pip install "sktransfer[explain]"' in caplog.text
    with pytest.raises(ParameterError, match=r'pip install "sktransfer\[explain\]"'):
        explain(model, X_TEST[:2], method="gradcam")


@needs_grad_cam
@pytest.mark.parametrize("pooling", ["native", "avg", "cls+avg"])
@pytest.mark.parametrize("depth", [0, 1])
def test_tokens_of_timm(pooling, depth):
    pytest.importorskip("timm")
    model = make_classifier(
        backbone="timm/test_vit",
        image_size=160,
        pooling=pooling,
        unfreeze_depth=depth,
        max_epochs=2,
    ).fit(X[:8], LABELS[:8])
    explanation = explain(model, X_TEST[:3])
    # The class token has read the positions already in the last block.
    assert explanation.method == ("cam" if pooling == "avg" else "gradcam")
    assert explanation.maps.shape == (3, 160, 160)
    assert np.ptp(explanation.maps[explanation.maps.any((1, 2))], axis=(1, 2)).min() > 0.5


def test_pictures_come_from_the_cache(tmp_path, decoded):
    paths = save_pictures(X[:8], tmp_path)
    model = make_classifier(**SMALL, cache=tmp_path / "cache").fit(paths, LABELS[:8])
    first = explain(model, paths)
    decoded.clear()
    np.testing.assert_array_equal(explain(model, paths).maps, first.maps)
    assert decoded == []
    explain(model, paths[:1], method="occlusion")
    assert decoded == paths[:1]  # once


def test_other_engines_give_the_same_maps():
    pytest.importorskip("openvino")
    torchs = explain(fitted(engine="torch"), X_TEST[:4]).maps
    np.testing.assert_allclose(
        explain(fitted(engine="openvino"), X_TEST[:4]).maps, torchs, atol=1e-3
    )


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
@pytest.mark.parametrize("parameters", [{}, {"unfreeze_depth": 1, "max_epochs": 1}], ids=str)
def test_a_device_gives_the_maps_of_the_cpu(monkeypatch, device, parameters):
    expected = {m: explain(fitted(**parameters), X_TEST[:3], method=m).maps for m in METHODS[1:]}
    with pretending(monkeypatch, device):
        model = fitted(device=device, **parameters)
        for method, maps in expected.items():
            found = explain(model, X_TEST[:3], method=method).maps
            np.testing.assert_allclose(found, maps, atol=1e-3)


def test_explaining_leaves_the_estimator_as_it_was():
    model = fitted(unfreeze_depth=1, max_epochs=1)
    parameters = list(model.net_.module_.parameters())
    for each in parameters:  # as after a fit with the user's own gradients
        each.grad = torch.full_like(each, 0.5)
    before = [(each.detach().clone(), each.grad.clone()) for each in parameters]
    for method in METHODS[1:]:
        explain(model, X_TEST[:2], method=method)
    for parameter, (value, gradient) in zip(parameters, before, strict=True):
        assert torch.equal(parameter, value)
        assert torch.equal(parameter.grad, gradient)
    assert (model.cache, model.resize_) == (None, "crop")


def test_maps_lie_on_the_originals():
    wide = np.full((SIDE, 2 * SIDE, 3), 120, np.uint8)
    wide[10:22, 60:72] = (230, 40, 40)
    inside = np.s_[10:22, 60:72]
    for resize, unseen in (("crop", SIDE**2), ("squash", 0), ("pad", 0)):
        explanation = explain(fitted(resize=resize), [wide], "red", "occlusion")
        drawn = explanation.on_original(0)
        assert drawn.shape == (SIDE, 2 * SIDE)
        assert np.isnan(drawn).sum() == unseen
        assert np.nanmean(drawn[inside]) > 3 * np.nanmean(drawn)
        assert explanation.on_original(0, side=24).shape == (12, 24)
    assert explain(fitted(), [wide]).box(0) == (24, 0, 72, 48)


@pytest.mark.parametrize("channels", [1, 5])
def test_pictures_of_other_channels(channels):
    pictures = np.repeat(X_TEST[..., :1], channels, axis=3)
    parameters = {"backbone": "resnet18", "image_size": 64, "in_channels": channels}
    model = make_classifier(**parameters).fit(pictures, LABELS_TEST)
    for method in METHODS[1:]:
        explanation = explain(model, pictures[:2], method=method)
        assert explanation.maps.max() == 1
        assert explanation.on_original(0).shape == (SIDE, SIDE)


def test_a_picture_that_is_gone_is_named(tmp_path):
    paths = [*save_pictures(X[:2], tmp_path), str(tmp_path / "gone.png")]
    for method in METHODS:
        with pytest.raises(UnreadableImageError, match="row 2 of X"):
            explain(fitted(), paths, "red", method)


def test_bad_input():
    model = fitted()
    with pytest.raises(ParameterError, match=r"method must be one of \['auto', 'cam'.*'shap'"):
        explain(model, X_TEST, method="shap")
    with pytest.raises(NotFittedError):
        explain(make_classifier(), X_TEST)
    with pytest.raises(TypeError, match="explain takes a fitted classifier"):
        explain(make_extractor().fit(X), X_TEST)
    with pytest.raises(ImageError, match="X is empty"):
        explain(model, [])

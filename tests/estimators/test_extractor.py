import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import PretrainedFeatureExtractor, load_clipart
from sktransfer.exceptions import (
    BackboneError,
    DeviceUnavailableError,
    EngineUnavailableError,
    ImageError,
    ImageWarning,
    UnreadableImageError,
    WeightsError,
)
from tests.small_estimators import LITE0, make_extractor


def test_shape_and_dtype(pictures):
    features = make_extractor().fit_transform(pictures[0])
    assert features.shape == (24, 1280)
    assert features.dtype == np.float32


def test_same_picture_in_every_form_gives_the_same_features(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    forms = [
        [str(path)],
        [path],
        np.array([str(path)]),
        pd.Series([str(path)], index=[7]),
        pd.DataFrame({"path": [str(path)]}),
        [Image.open(path)],
        pixels[None],
        [pixels],
        pixels[None] / 255.0,
        (pixels[None] / 255.0).astype(np.float32),
        torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None],
        pixels[None].astype(np.int64),
    ]
    extractor = make_extractor().fit(forms[0])
    expected = extractor.transform(forms[0])
    for X in forms[1:]:
        assert_allclose(extractor.transform(X), expected, rtol=1e-5)


def test_flattened_rows_equal_pictures():
    rows = load_digits().data[:10] / 16
    flat = make_extractor(image_shape=(8, 8)).fit(rows)
    assert flat.n_features_in_ == 64
    assert_array_equal(flat.transform(rows), flat.transform(rows.reshape(-1, 8, 8)))
    with pytest.raises(ImageError, match="Divide"):
        flat.transform(load_digits().data[:10])


def test_wrong_image_shape_names_both_numbers():
    with pytest.raises(ImageError, match=r"\(8, 9\) needs 72 columns, but X has 64"):
        make_extractor(image_shape=(8, 9)).fit(np.zeros((3, 64)))


@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_batch_size_changes_nothing(pictures, batch_size):
    extractor = lite0()
    expected = extractor.fit(pictures[0]).transform(pictures[0])
    other = extractor.set_params(batch_size=batch_size).transform(pictures[0])
    assert_allclose(other, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


lite0 = partial(make_extractor, backbone=LITE0, image_size=64)


def test_engines_agree(pictures):
    pytest.importorskip("openvino")
    expected = lite0(engine="torch").fit_transform(pictures[0])
    features = lite0(engine="openvino").fit_transform(pictures[0])
    assert features.dtype == np.float32
    assert not np.array_equal(features, expected)
    assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_shorter_precision_costs_digits(pictures):
    expected = lite0().fit_transform(pictures[0])
    features = lite0(precision="bfloat16", engine="torch").fit_transform(pictures[0])
    assert features.dtype == np.float32
    difference = np.linalg.norm(features - expected) / np.linalg.norm(expected)
    assert 1e-4 < difference < 0.2


def test_precision_after_fit_waits_for_the_next_fit(pictures):
    extractor = lite0(engine="torch").fit(pictures[0])
    expected = extractor.transform(pictures[0])
    extractor.set_params(precision="bfloat16")
    assert_array_equal(extractor.transform(pictures[0]), expected)
    assert not np.array_equal(extractor.fit_transform(pictures[0]), expected)


def test_a_shorter_precision_keeps_the_engine_of_the_fit(pictures):
    extractor = lite0(precision="bfloat16", engine="torch").fit(pictures[0])
    expected = extractor.transform(pictures[0])
    for engine in ("openvino", "auto"):
        extractor.set_params(engine=engine)
        assert_array_equal(extractor.transform(pictures[0]), expected)


def test_the_same_file_twice_is_read_once(picture_files, decoded):
    paths = picture_files[0][:3]
    features = make_extractor().fit_transform([*paths, *paths])
    assert sorted(decoded) == sorted(paths)
    assert_array_equal(features[3:], features[:3])


def test_row_order_changes_nothing(pictures):
    extractor = lite0()
    expected = extractor.fit(pictures[0]).transform(pictures[0])
    reverse = extractor.transform(pictures[0][::-1])[::-1]
    assert_allclose(reverse, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_transform_does_not_change_the_network(pictures):
    extractor = make_extractor().fit(pictures[0])
    backbone = extractor._fitted.backbone.reference.get()
    before = backbone.digest
    del backbone.__dict__["digest"]
    extractor.transform(pictures[0])
    assert backbone.digest == before


def test_stages_and_names(pictures):
    extractor = make_extractor(stage=["level2", "level5"], pooling="avg").fit(pictures[0])
    features = extractor.transform(pictures[0])
    names = extractor.get_feature_names_out()
    assert features.shape == (24, 16 + 1280)
    assert names[0] == "mnasnet0_5_level2_0"
    assert names[-1] == "mnasnet0_5_level5_1279"
    alone = make_extractor(stage="level5", pooling="avg").fit_transform(pictures[0])
    assert_allclose(features[:, 16:], alone, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "max", "flatten"])
def test_pooling_changes_features(pictures, pooling):
    native = make_extractor(image_size=64, stage="level3").fit_transform(pictures[0])
    pooled = make_extractor(image_size=64, stage="level3", pooling=pooling).fit_transform(
        pictures[0]
    )
    assert pooled.shape[1] == (24 * 8 * 8 if pooling == "flatten" else 24)
    if pooling == "avg":
        assert_allclose(pooled, native, rtol=1e-4, atol=1e-6)
    elif pooling == "max":
        assert (pooled >= native - 1e-6).all()


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(pictures, container):
    extractor = make_extractor().set_output(transform=container)
    frame = extractor.fit_transform(pictures[0])
    assert frame.shape == (24, 1280)
    assert list(frame.columns)[:2] == ["mnasnet0_5_0", "mnasnet0_5_1"]


def test_set_params_after_fit_waits_for_the_next_fit(pictures):
    X = pictures[0]
    extractor = make_extractor().fit(X)
    before = extractor.transform(X)
    extractor.set_params(backbone="shufflenet_v2_x0_5", stage="stage2", image_size=64)
    assert_array_equal(extractor.transform(X), before)
    assert extractor.fit(X).transform(X).shape == (24, 48)


def test_clone_is_unfitted_and_equal(pictures):
    extractor = make_extractor(stage="level3").fit(pictures[0])
    copy = clone(extractor)
    assert copy.get_params() == extractor.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(pictures[0])


def test_pickle_is_small_and_equal(pictures):
    extractor = make_extractor().fit(pictures[0])
    data = pickle.dumps(extractor)
    assert len(data) < 10_000  # the weights are found again, not stored
    assert_array_equal(pickle.loads(data).transform(pictures[0]), extractor.transform(pictures[0]))


def test_pickle_notices_other_weights(pictures, tmp_path):
    path = tmp_path / "weights.pth"
    state = torch.load(lite0_file(), weights_only=True)
    torch.save(state, path)
    extractor = make_extractor(backbone=LITE0, weights=path).fit(pictures[0])
    data = pickle.dumps(extractor)
    state["_conv_stem.weight"] = state["_conv_stem.weight"] + 1
    torch.save(state, path)
    with pytest.raises(WeightsError, match="not the ones"):
        pickle.loads(data).transform(pictures[0])


@pytest.mark.parametrize("n_classes", [1000, 7])
def test_pickle_notices_another_classifier(pictures, tmp_path, n_classes):
    path = tmp_path / "weights.pth"
    state = torch.load(lite0_file(), weights_only=True)
    torch.save(state, path)
    extractor = make_extractor(backbone=LITE0, weights=path, stage="logits").fit(pictures[0])
    data = pickle.dumps(extractor)
    for key in ("_fc.weight", "_fc.bias"):
        state[key] = 1 - state[key][:n_classes]
    torch.save(state, path)
    with pytest.raises(WeightsError, match="not the ones"):
        pickle.loads(data).transform(pictures[0])


def test_lists_that_change_after_fit_change_nothing(pictures):
    rows = pictures[0].reshape(len(pictures[0]), -1)
    stage, image_shape = ["level2", "level3"], [32, 32, 3]
    extractor = make_extractor(stage=stage, image_shape=image_shape).fit(rows)
    names, expected = list(extractor.get_feature_names_out()), extractor.transform(rows)
    stage.reverse()
    image_shape[:] = [16, 64, 3]
    assert list(extractor.get_feature_names_out()) == names
    assert_array_equal(extractor.transform(rows), expected)


def lite0_file():
    from sktransfer.backbones.weights import find_weights

    return find_weights("efficientnet_lite0", "DEFAULT").path


def test_a_bad_file_is_named(picture_files, tmp_path):
    paths, _ = picture_files
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"row 2 of X \('.*bad.jpg'\)"):
        make_extractor().fit_transform([*paths[:2], str(bad)])


def test_a_missing_file_is_told_in_fit(picture_files):
    with pytest.raises(UnreadableImageError, match=r"row 24 of X \('nowhere.png'\)"):
        make_extractor().fit([*picture_files[0], "nowhere.png"])


def test_on_error_nan_gives_nan_rows_and_one_warning(picture_files):
    paths, _ = picture_files
    X = [*paths[:3], "nowhere.png", *paths[3:]]
    with pytest.warns(ImageWarning, match="1 of 25 pictures") as caught:
        features = make_extractor(on_error="nan", batch_size=4).fit_transform(X)
    assert len(caught) == 1
    assert np.isnan(features[3]).all()
    whole = make_extractor().fit_transform(paths)
    assert_allclose(np.delete(features, 3, axis=0), whole, rtol=1e-4, atol=1e-6)


def test_verbose_shows_a_bar(pictures, capsys):
    make_extractor(verbose=1).fit_transform(pictures[0])
    assert "Extracting features: 100%" in capsys.readouterr().err
    make_extractor().fit_transform(pictures[0])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"backbone": "resnet81"}, BackboneError, "Did you mean 'resnet18'"),
        ({"stage": "layer9"}, BackboneError, "layer9.*level1"),
        ({"stage": "logits"}, BackboneError, "classifier"),
        ({"weights": "IMAGENET99"}, BackboneError, "IMAGENET99.*IMAGENET1K_V1"),
        ({"pooling": "sum"}, ValueError, "pooling.*sum"),
        ({"batch_size": 0}, ValueError, "batch_size.*0"),
        ({"batch_size": "many"}, ValueError, "batch_size.*many"),
        ({"image_size": -3}, ValueError, "image_size.*-3"),
        ({"image_shape": (8,)}, ImageError, "image_shape.*8"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"on_error": "skip"}, ValueError, "on_error.*skip"),
        ({"device": "cuda:9"}, DeviceUnavailableError, "cuda:9.*cpu"),
        ({"device": "gpu"}, DeviceUnavailableError, "gpu.*cpu"),
        ({"engine": "onnx"}, ValueError, "engine.*onnx"),
        ({"precision": "float64"}, ValueError, "precision.*float64"),
        ({"precision": "float16"}, EngineUnavailableError, "float16.*CUDA.*'cpu'"),
        (
            {"precision": "float16", "engine": "openvino"},
            EngineUnavailableError,
            "float16.*CUDA.*'cpu'",
        ),
        ({"cache": 5}, ValueError, "cache.*5"),
        ({"backbone": "alexnet", "image_size": 16}, BackboneError, "image_size=16"),
    ],
)
def test_bad_parameters_are_told_in_fit(pictures, parameters, error, words):
    extractor = make_extractor().set_params(**parameters)
    with pytest.raises(error, match=words):
        extractor.fit(pictures[0])
    with pytest.raises(NotFittedError):
        extractor.transform(pictures[0])


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size.*0"),
        ({"batch_size": "many"}, ValueError, "batch_size.*many"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"on_error": "skip"}, ValueError, "on_error.*skip"),
        ({"engine": "onnx"}, ValueError, "engine.*onnx"),
        ({"cache": 5}, ValueError, "cache.*5"),
        ({"image_shape": (8,)}, ImageError, "image_shape.*8"),
    ],
)
def test_bad_parameters_are_told_after_fit_too(pictures, parameters, error, words):
    extractor = make_extractor().fit(pictures[0]).set_params(**parameters)
    with pytest.raises(error, match=words):
        extractor.transform(pictures[0])


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([], "empty"),
        (np.zeros((5, 64)), "image_shape"),
        ("one.jpg", "list of pictures"),
        (["https://example.org/a.jpg"], "URL"),
        ([None], "row 0 of X.*missing"),
        (np.full((2, 8, 8, 3), np.nan), "row 0 of X.*NaN"),
        (np.full((2, 8, 8, 3), 200.0), "row 0 of X.*0..1"),
    ],
)
def test_bad_input_is_told_in_fit(X, words):
    with pytest.raises(ImageError, match=words):
        make_extractor().fit(X)


def test_pipeline_on_real_weights():
    paths, labels = load_clipart(return_X_y=True)
    chosen = np.isin(labels, ["fruit", "vehicle"])
    X, y = paths[chosen][::3], labels[chosen][::3]
    extractor = PretrainedFeatureExtractor("efficientnet_lite0")
    model = make_pipeline(extractor, LogisticRegression(max_iter=1000)).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) >= 0.8

"""Backbones that are files of ONNX."""

import logging
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch

from sktransfer import (
    PretrainedImageClassifier,
    adapt_batch_norm,
    free_memory,
    list_backbones,
    register_backbone,
)
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import REGISTERED
from sktransfer.exceptions import (
    BackboneError,
    EngineUnavailableError,
    ParameterError,
    WeightsError,
)
from tests.backbones.onnx_files.networks import FOLDER, SIDE, Features
from tests.conftest import make_pictures
from tests.pretended_devices import pretending
from tests.small_estimators import make_classifier, make_extractor

onnxruntime = pytest.importorskip("onnxruntime")

NAME = "mine/onnx"
PRESET = {"image_size": SIDE, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
X, Y = make_pictures(40, SIDE)
# The image size of the file, where the factories have another one.
OPTIONS = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}


@pytest.fixture(autouse=True)
def afterwards():
    yield
    REGISTERED.registrations.pop(NAME, None)
    free_memory()


def register(file="features", **options):
    register_backbone(NAME, FOLDER / f"{file}.onnx", **{"preprocessing": PRESET, **options})


def expected_features(pictures=X):
    pixels = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return Features()((pixels - 0.5) / 0.25).numpy()


@pytest.mark.parametrize("file", ["features", "map"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_features_are_those_of_torch(file, batch_size):
    register(file)
    found = make_extractor(batch_size=batch_size, **OPTIONS).fit_transform(X)
    expected = expected_features()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_it_is_listed_as_one_stage_without_parameters():
    register()
    (record,) = list_backbones(source="registered")
    found = {key: record[key] for key in ("name", "stages", "parameters", "features")}
    assert found == {"name": NAME, "stages": {"network": 0}, "parameters": 0, "features": 6}


def test_a_classifier_comes_back_from_a_pickle():
    register()
    classifier = make_classifier(**OPTIONS).fit(X, Y)
    opened = pickle.loads(pickle.dumps(classifier))
    free_memory()
    np.testing.assert_array_equal(opened.predict_proba(X), classifier.predict_proba(X))


def test_other_files_under_the_same_name_are_other_networks(tmp_path):
    path = tmp_path / "network.onnx"
    shutil.copy(FOLDER / "features.onnx", path)
    register_backbone(NAME, str(path), preprocessing=PRESET)
    extractor = make_extractor(cache=tmp_path / "cache", **OPTIONS).fit(X)
    expected, kept = extractor.transform(X), pickle.dumps(extractor)
    # The file was read when it was registered.
    content = bytearray(path.read_bytes())
    place = content.index(Features().first.bias.detach().numpy().tobytes())
    content[place : place + 16] = np.full(4, 3, "float32").tobytes()
    path.write_bytes(content)
    free_memory()
    np.testing.assert_array_equal(pickle.loads(kept).transform(X), expected)
    register_backbone(NAME, path, preprocessing=PRESET)
    with pytest.raises(WeightsError, match="not the ones that this estimator was fitted with"):
        pickle.loads(kept).transform(X)
    others = extractor.fit(X).transform(X)
    assert abs(others - expected).max() > 0.1
    np.testing.assert_array_equal(make_extractor(**OPTIONS).fit_transform(X), others)


@pytest.mark.parametrize("depth", [1, "all"])
def test_it_can_not_be_trained(depth):
    register()
    with pytest.raises(BackboneError, match=f"unfreeze_depth={depth!r} can't be used: .*ONNX"):
        make_classifier(unfreeze_depth=depth, **OPTIONS).fit(X, Y)


def test_the_depth_by_evidence_is_0():
    register()
    assert make_classifier(unfreeze_depth="auto", **OPTIONS).fit(X, Y).unfreeze_depth_ == 0


def test_it_has_no_statistics_to_adapt():
    register()
    with pytest.raises(ParameterError, match="has none"):
        adapt_batch_norm(make_extractor(**OPTIONS).fit(X), X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weights": None}, "weights=None"),
        ({"image_size": 32}, r"can't run on pictures of shape \(2, 3, 32, 32\)"),
        ({"in_channels": 5}, "can't take pictures with in_channels=5"),
        ({"pooling": "max"}, "pooling='max' can't be used"),
        ({"stage": "level1"}, "not a stage"),
    ],
)
def test_parameters_that_it_does_not_allow(parameters, message):
    register()
    pictures = np.zeros((2, 8, 8, 5), np.uint8) if "in_channels" in parameters else X
    with pytest.raises(BackboneError, match=message):
        make_extractor(**{**OPTIONS, **parameters}).fit(pictures)


def test_a_file_of_any_size_takes_other_sizes():
    register("map")
    found = make_extractor(**{**OPTIONS, "image_size": 32}).fit_transform(make_pictures(3, 32)[0])
    expected = expected_features(make_pictures(3, 32)[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_openvino_leaves_it_to_onnxruntime(caplog):
    pytest.importorskip("openvino")
    register()
    expected = make_extractor(engine="torch", **OPTIONS).fit_transform(X)
    with caplog.at_level(logging.WARNING, "sktransfer"):
        found = make_extractor(engine="openvino", **OPTIONS).fit_transform(X)
    np.testing.assert_array_equal(found, expected)
    assert "OpenVINO can't run mine/onnx" in caplog.text
    assert "onnxruntime runs a file of ONNX as a whole" in caplog.text


def test_it_computes_in_float32():
    register()
    expected = make_extractor(engine="torch", **OPTIONS).fit_transform(X)
    short = make_extractor(engine="torch", precision="bfloat16", **OPTIONS).fit_transform(X)
    np.testing.assert_allclose(short, expected, rtol=0, atol=1e-5 * abs(expected).max())
    pytest.importorskip("openvino")
    extractor = make_extractor(engine="openvino", precision="bfloat16", **OPTIONS)
    with pytest.raises(EngineUnavailableError):
        extractor.fit_transform(X)


def test_the_cpu_computes_for_other_devices(monkeypatch, caplog):
    register()
    network = load_backbone(NAME).feature_network()
    pixels = torch.from_numpy(X.copy()).permute(0, 3, 1, 2)
    expected = TorchEngine(network, "cpu")(pixels)
    with pretending(monkeypatch, "cuda:0"), caplog.at_level(logging.WARNING, "sktransfer"):
        engine = TorchEngine(network, "cuda:0")
        found = [engine(pixels).cpu() for _ in range(2)]
    for each in found:
        torch.testing.assert_close(each, expected, rtol=0, atol=1e-5)
    assert caplog.text.count("mine/onnx is a file of ONNX: the CPU computes it") == 1
    # The network itself has stayed where it was.
    assert {buffer.device.type for buffer in network.buffers()} == {"cpu"}


def test_it_uses_as_many_threads_as_torch(monkeypatch):
    found, session = [], onnxruntime.InferenceSession

    def spy(content, options, **others):
        found.append(options.intra_op_num_threads)
        return session(content, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    register()
    network = load_backbone(NAME).feature_network()
    pixels = torch.from_numpy(X.copy()).permute(0, 3, 1, 2)
    del found[:]
    for n_threads in (1, 2, 2, 1):
        torch.set_num_threads(n_threads)
        network(pixels)
    assert found == [2, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_of_a_fork_has_a_session_of_its_own():
    register()
    extractor = make_extractor(**OPTIONS).fit(X)
    expected = extractor.transform(X)
    child = os.fork()
    if child == 0:
        same = np.array_equal(extractor.transform(X), expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(extractor.transform(X), expected)


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("missing", {}, r"missing\.onnx'.* the path of a file of ONNX, which ends in \.onnx"),
        ("two_outputs", {}, "one input and one output"),
        ("fixed_batch", {}, r"with any n; it takes tensor\(float\) of shape \[2, 3, 16, 16\]"),
        ("features", {"preprocessing": {**PRESET, "image_size": 24}}, r"\(n, 3, 24, 24\)"),
        (
            "features",
            {"preprocessing": {"image_size": SIDE, "mean": [0.5] * 5, "std": [0.2] * 5}},
            r"\(n, 5, 16, 16\)",
        ),
        ("features", {"stages": ["first"]}, "stages=.*a file of ONNX"),
        ("features", {"classifier": "fc"}, "classifier='fc' can't be used"),
        ("features", {"weights": "weights.pth"}, "weights='weights.pth' can't be used"),
    ],
)
def test_files_that_are_an_error(file, options, message):
    with pytest.raises(BackboneError, match=message):
        register(file, **options)
    assert NAME not in REGISTERED.registrations


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no network")
    with pytest.raises(BackboneError, match=r"damaged\.onnx of mine/onnx can't be read"):
        register_backbone(NAME, tmp_path / "damaged.onnx", preprocessing=PRESET)


def test_weights_in_another_file_are_an_error(tmp_path, monkeypatch):
    # As large models have them: in the working directory, they could be another network's.
    for file in FOLDER.glob("outside.*"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    options = onnxruntime.SessionOptions()
    onnxruntime.InferenceSession((tmp_path / "outside.onnx").read_bytes(), options)  # finds them
    with pytest.raises(BackboneError, match=r"can't be read by onnxruntime: .*must be inside"):
        register_backbone(NAME, "outside.onnx", preprocessing=PRESET)


def test_without_onnxruntime_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackboneError, match=r'pip install "sktransfer\[onnx\]"'):
        register()


def test_a_classifier_on_it_is_that_on_the_network_in_torch():
    probabilities = []
    for build in (FOLDER / "features.onnx", Features):
        register_backbone(NAME, build, preprocessing=PRESET)
        classifier = PretrainedImageClassifier(NAME, engine="torch", random_state=0)
        probabilities.append(classifier.fit(X, Y).predict_proba(X))
    np.testing.assert_allclose(*probabilities, rtol=0, atol=1e-4)

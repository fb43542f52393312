"""Backbones of all sources: left out and found again, or in the file."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer import load, register_backbone, save
from sktransfer._common.process_memory import free_memory
from sktransfer.backbones.names import REGISTERED
from sktransfer.backbones.sources import lite
from sktransfer.exceptions import (
    DeviceUnavailableError,
    DeviceWarning,
    ModelFileError,
    ParameterError,
    WeightsError,
    WeightsUnavailableError,
)
from tests.backbones.test_onnx_file import FOLDER, PRESET
from tests.conftest import MOBILENET_WEIGHTS, make_pictures, needs
from tests.persistence.model_file.hostile import put, rewritten
from tests.pretended_devices import pretending
from tests.small_estimators import LITE0, make_classifier, make_extractor

X, y = make_pictures(8)


def small_network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3)
    )


@pytest.fixture(autouse=True)
def only_of_a_test(monkeypatch):
    """Forget the networks that a test registers."""
    monkeypatch.setattr(REGISTERED, "registrations", {})
    register_backbone("of a test", small_network, preprocessing=PRESET)


@pytest.mark.parametrize(
    "parameters",
    [
        {"backbone": "googlenet", "image_size": 64},
        {"backbone": "timm/mobilenetv3_small_050", "image_size": 32},
        {"backbone": "timm/vit_tiny_patch16_224", "image_size": 32},
        {"backbone": LITE0, "stage": "logits"},
        {"backbone": LITE0, "in_channels": 1},
        {"backbone": "of a test", "weights": "DEFAULT"},
    ],
    ids=lambda parameters: parameters["backbone"],
)
def test_whole_backbones_of_all_sources(parameters, tmp_path):
    extractor = make_extractor(**parameters)
    pictures = X[..., : extractor.in_channels] if extractor.in_channels == 1 else X
    expected = extractor.fit_transform(pictures)
    save(extractor, tmp_path / "model.skt", include_backbone=True)
    free_memory()
    found = load(tmp_path / "model.skt")
    np.testing.assert_array_equal(found.transform(pictures), expected)
    assert found._fitted.backbone.reference.digest == extractor._fitted.backbone.reference.digest


def test_a_whole_file_opens_without_the_package_of_the_weights(tmp_path, monkeypatch):
    extractor = make_extractor(backbone=LITE0)
    expected = extractor.fit_transform(X)
    save(extractor, tmp_path / "whole.skt", include_backbone=True)
    save(extractor, tmp_path / "head.skt")
    free_memory()
    monkeypatch.setattr(lite, "_path_in_package", lambda _: None)
    with pytest.raises(WeightsUnavailableError, match="include_backbone=True"):
        load(tmp_path / "head.skt")
    found = load(tmp_path / "whole.skt")
    np.testing.assert_array_equal(found.transform(X), expected)


def test_a_backbone_of_onnx_is_registered_where_the_file_is_opened(tmp_path):
    register_backbone("onnx of a test", FOLDER / "features.onnx", preprocessing=PRESET)
    extractor = make_extractor(backbone="onnx of a test", weights="DEFAULT", image_size=None)
    expected = extractor.fit_transform(X)
    with pytest.raises(ParameterError, match="include_backbone=True can't be used"):
        save(extractor, tmp_path / "model.skt", include_backbone=True)
    save(extractor, tmp_path / "model.skt")
    np.testing.assert_array_equal(load(tmp_path / "model.skt").transform(X), expected)


def test_a_registered_backbone_that_is_not_registered(tmp_path):
    extractor = make_extractor(backbone="of a test", weights="DEFAULT").fit(X)
    save(extractor, tmp_path / "model.skt", include_backbone=True)
    del REGISTERED.registrations["of a test"]
    with pytest.raises(ModelFileError, match="needs the backbone 'of a test'"):
        load(tmp_path / "model.skt")


@pytest.fixture
def own_weights(tmp_path):
    if not MOBILENET_WEIGHTS.exists():
        pytest.skip("the weights are not on this machine")
    return shutil.copy(MOBILENET_WEIGHTS, tmp_path / "own.safetensors")


@needs(MOBILENET_WEIGHTS)
def test_weights_of_the_users_own_are_put_in(own_weights, tmp_path):
    classifier = make_classifier(backbone="mobilenet_v2", weights=own_weights).fit(X, y)
    expected = classifier.predict_proba(X)
    save(classifier, tmp_path / "whole.skt")
    save(classifier, tmp_path / "head.skt", include_backbone=False)
    own_weights.unlink()
    free_memory()
    np.testing.assert_array_equal(load(tmp_path / "whole.skt").predict_proba(X), expected)
    # A fit goes on without the weights too.
    load(tmp_path / "whole.skt").partial_fit(X, y)
    with pytest.raises(WeightsUnavailableError, match=r"head\.skt.*weights=PATH.*own\.safetensors"):
        load(tmp_path / "head.skt")
    with zipfile.ZipFile(tmp_path / "whole.skt") as archive:
        record = json.loads(archive.read("manifest.json"))["estimators"][0]["fitted"]["backbone"]
    assert record["weights"] == {"kind": "path", "value": str(own_weights)}  # as it was given
    changed = load(tmp_path / "head.skt", weights=MOBILENET_WEIGHTS).set_params(backbone="resnet18")
    save(changed, tmp_path / "changed.skt", include_backbone=False)
    found = load(tmp_path / "changed.skt", weights={"mobilenet_v2": MOBILENET_WEIGHTS})
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    found = load(tmp_path / "head.skt", weights=MOBILENET_WEIGHTS)
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    assert found.weights == MOBILENET_WEIGHTS
    found.set_params(warm_start=True).fit(X, y)
    # Weights that are named count more than those in the file.
    found = load(tmp_path / "whole.skt", weights=MOBILENET_WEIGHTS)
    assert (found.weights, found._model.backbone.reference.whole) == (MOBILENET_WEIGHTS, None)
    other = make_classifier(backbone="mobilenet_v2", weights=None).fit(X, y)
    save(other, tmp_path / "random.skt")
    with pytest.raises(WeightsError, match="not the ones"):
        load(tmp_path / "random.skt", weights={"mobilenet_v2": MOBILENET_WEIGHTS})


def test_weights_that_can_not_be_had(tmp_path):
    extractor = make_extractor().fit(X)
    save(extractor, tmp_path / "model.skt")
    rewritten(tmp_path / "model.skt", lambda manifest, _: published(manifest))
    free_memory()
    with pytest.raises(WeightsUnavailableError, match=r"load\(\.\.\., weights=PATH\)"):
        load(tmp_path / "model.skt")


def published(manifest):
    manifest["estimators"][0]["fitted"]["backbone"]["weights"] = "DEFAULT"


@pytest.mark.parametrize("include", ["yes", 1, None, 0.0])
def test_include_backbone_of_other_values(include, tmp_path):
    with pytest.raises(ParameterError, match="include_backbone must be"):
        save(make_extractor(), tmp_path / "model.skt", include_backbone=include)


DEVICES = ["cuda:0", "mps"]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("device", DEVICES)
def test_models_move_between_devices(device, tmp_path, monkeypatch):
    classifier = make_classifier().fit(X, y)
    save(classifier, tmp_path / "cpu.skt")
    with pretending(monkeypatch, device):
        moved = load(tmp_path / "cpu.skt", device=device)
        assert (moved.device, moved.device_) == (device, device)
        np.testing.assert_allclose(
            moved.predict_proba(X), classifier.predict_proba(X), rtol=0, atol=1e-5
        )
        save(moved, tmp_path / "device.skt")
        assert load(tmp_path / "cpu.skt").device_ == "cpu"  # its parameter says so
    with pytest.warns(DeviceWarning, match=device):
        opened = load(tmp_path / "device.skt")
    assert (opened.device, opened.device_) == (device, "cpu")
    np.testing.assert_array_equal(
        load(tmp_path / "device.skt", device="cpu").predict_proba(X), classifier.predict_proba(X)
    )
    with pytest.raises(DeviceUnavailableError):
        load(tmp_path / "device.skt", device=device)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The content of a model file with a backbone."""
    path = tmp_path_factory.mktemp("models") / "whole.skt"
    save(make_extractor().fit(X), path, include_backbone=True)
    return path.read_bytes()


BACKBONE = ("estimators", 0, "fitted", "backbone")
CHANGES = [
    ("name", "resnet18"),
    ("name", "no network"),
    ("name", "../../etc"),
    ("weights", {"kind": "torch", "module": "optim", "name": "SGD"}),
    ("digest", "0" * 64),
    ("seed", -1),
    ("image_size", 0),
    ("image_size", 10**9),
    ("image_size", 2**14 + 1),
    ("in_channels", 4),
    ("image_shape", [0, 1]),
    ("engine", "other"),
    ("precision", "float64"),
    ("statistics", ["level1.0"]),
    ("preprocessing", {}),
]


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=str)
def test_records_that_nobody_writes(name, value, whole, tmp_path):
    path = tmp_path / "model.skt"
    path.write_bytes(whole)
    rewritten(path, lambda manifest, _: put(manifest, (*BACKBONE, name), value))
    with pytest.raises((ModelFileError, WeightsError)):
        load(path)


@pytest.mark.parametrize("name", ["mean", "std", "crop_size", "resize", "interpolation"])
def test_another_preprocessing_than_the_backbones(name, whole, tmp_path):
    other = {"mean": [0.1] * 3, "std": [0.1] * 3, "crop_size": 64, "resize": "zoom"}
    path = tmp_path / "model.skt"
    path.write_bytes(whole)
    place = (*BACKBONE, "preprocessing", name)
    rewritten(path, lambda manifest, _: put(manifest, place, other.get(name, "nearest")))
    with pytest.raises(ModelFileError):
        load(path)


def test_swapped_tensors(whole, tmp_path):
    path = tmp_path / "model.skt"
    path.write_bytes(whole)

    def swap(_, tensors):
        shapes = {}
        for name, tensor in tensors.items():
            if tensor.ndim == 4 and tuple(tensor.shape) in shapes:
                other = shapes[tuple(tensor.shape)]
                tensors[name], tensors[other] = tensors[other].clone(), tensor.clone()
                return
            shapes[tuple(tensor.shape)] = name

    rewritten(path, swap)
    free_memory()
    with pytest.raises(ModelFileError, match="Its backbone is not"):
        load(path)

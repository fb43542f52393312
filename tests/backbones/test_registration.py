import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from torch import nn

from sktransfer import (
    PretrainedFeatureExtractor,
    PretrainedImageClassifier,
    free_memory,
    list_backbones,
    register_backbone,
)
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import REGISTERED, backbone_names
from sktransfer.exceptions import BackboneError, WeightsError
from tests.conftest import make_pictures

NAME = "mine/net"
PRESET = {"image_size": 16, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}


def forget(name):
    REGISTERED.registrations.pop(name, None)
    free_memory()


@pytest.fixture(autouse=True)
def afterwards():
    yield
    forget(NAME)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, 2), nn.BatchNorm2d(6))

    def forward(self, x):
        return self.second(self.first(x))


class WithNeck(Net):
    def __init__(self):
        super().__init__()
        self.neck = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        return self.neck(super().forward(x))


class Scores(Net):
    def __init__(self, n_classes):
        super().__init__()
        self.fc = nn.Linear(6, n_classes)

    def forward(self, x):
        return self.fc(super().forward(x).mean((2, 3)))


def build():
    torch.manual_seed(0)
    return Net()


def register(build=build, **options):
    register_backbone(NAME, build, **{"preprocessing": PRESET, **options})


def test_it_is_listed():
    register()
    assert NAME in backbone_names()
    (record,) = list_backbones(source="registered")
    assert record == {
        "name": NAME,
        "stages": {"level1": 2, "level2": 1, "neck": 0},
        "parameters": 346,
        "input_size": 16,
        "features": 6,
        "weights": pytest.approx({"own": float("nan")}, nan_ok=True),
        "license": "unknown",
    }


def test_features_are_those_of_the_network():
    register()
    X = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    pictures = (torch.tensor(X).permute(0, 3, 1, 2) / 255 - 0.5) / 0.2
    with torch.inference_mode():
        expected = build().eval()(pictures).mean((2, 3)).numpy()
    found = PretrainedFeatureExtractor(NAME, device="cpu").fit_transform(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_it_is_trained_and_pickled(tmp_path):
    register()
    X, y = make_pictures(8)
    classifier = PretrainedImageClassifier(
        NAME, unfreeze_depth=1, max_epochs=2, cache=tmp_path, device="cpu", random_state=0
    ).fit(X, y)
    first = load_backbone(NAME).stages[0].module.state_dict()
    assert torch.equal(first["first.0.weight"], build().first[0].weight)
    pickled, scores = pickle.dumps(classifier), classifier.predict_proba(X)
    assert np.array_equal(pickle.loads(pickled).predict_proba(X), scores)
    forget(NAME)
    opened = pickle.loads(pickled)
    with pytest.raises(BackboneError, match=f"'{NAME}' is not a known.*register_backbone"):
        opened.predict(X)
    register()
    assert np.array_equal(opened.predict_proba(X), scores)


def test_another_network_of_the_name_is_not_taken_for_the_first():
    register()
    X, y = make_pictures(6)
    pickled = pickle.dumps(PretrainedImageClassifier(NAME, device="cpu").fit(X, y))

    def other():
        torch.manual_seed(1)
        return Net()

    register(other)
    with pytest.raises(WeightsError, match="are not the ones"):
        pickle.loads(pickled).predict(X)


def test_a_search_mixes_sources():
    register()
    X, y = make_pictures(8)
    search = GridSearchCV(
        PretrainedImageClassifier(weights=None, image_size=32, device="cpu", random_state=0),
        [{"backbone": [NAME], "weights": ["DEFAULT"]}, {"backbone": ["resnet18", "timm/test_vit"]}],
        cv=2,
        error_score="raise",
    )
    assert len(search.fit(X, y).cv_results_["params"]) == 3


def test_a_file_of_weights(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(build().state_dict(), path)
    register(Net, weights=path)
    weight = load_backbone(NAME).stages[0].module.state_dict()["first.0.weight"]
    assert torch.equal(weight, build().first[0].weight)
    random = load_backbone(NAME, None, seed=3)
    assert not random.pretrained
    torch.save({"first.0.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=f"not those of {NAME}"):
        load_backbone(NAME)


def test_a_file_without_the_classifier(tmp_path):
    path, network = tmp_path / "w.pth", Scores(5)
    body = {key: value for key, value in network.state_dict().items() if key[:2] != "fc"}
    for state in (body, Scores(7).state_dict() | body):
        torch.save(state, path)
        register(lambda: Scores(5), classifier="fc", weights=path)
        backbone = load_backbone(NAME)
        assert not backbone.has_classifier
        first = backbone.stages[0].module.state_dict()["first.0.weight"]
        assert torch.equal(first, network.first[0].weight)
    torch.save({}, path)
    with pytest.raises(WeightsError, match="the file holds no tensors"):
        load_backbone(NAME)


def test_a_relative_path_is_that_of_the_folder_of_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(build().state_dict(), "w.pth")
    register(Net, weights="w.pth")
    monkeypatch.chdir("/")
    free_memory()
    assert load_backbone(NAME).pretrained


def test_random_weights_of_a_network_that_has_its_own():
    register()
    with pytest.raises(BackboneError, match="weights=None means random weights, and mine/net has"):
        load_backbone(NAME, None)


def test_random_states_are_as_they_were():
    before = torch.manual_seed(5).get_state()
    register(lambda: Net())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"build": lambda: 3}, "must return a torch.nn.Module; it returned 3"),
        ({"build": lambda: nn.Linear(3, 2)}, "can't run on pictures of shape (2, 3, 16, 16)"),
        ({"build": lambda: nn.Flatten(0)}, "two pictures it gave (1536,)"),
        ({"stages": ["second", "first"]}, "does not call ['second', 'first'] in this order"),
        ({"stages": ["third"]}, "'third' is no submodule that it calls"),
        ({"classifier": "fc"}, "can't run on pictures"),
        ({"weights": "nowhere.pth"}, "'nowhere.pth' of mine/net is no file"),
        ({"preprocessing": {"image_size": 16}}, "missing are ['mean', 'std']"),
        ({"preprocessing": {**PRESET, "size": 3}}, "unknown ['size']"),
        ({"preprocessing": {**PRESET, "std": (1, 0, 1)}}, "three above 0 as std"),
        ({"preprocessing": {**PRESET, "mean": (123.7, 116.3, 103.5)}}, "from 0 to 1 as mean"),
        ({"preprocessing": {**PRESET, "mean": 0.5}}, "three numbers from 0 to 1"),
        ({"preprocessing": None}, "must be a dict; got None"),
        ({"preprocessing": {**PRESET, "image_size": (16, 16)}}, "whole numbers of pixels"),
        ({"build": Net()}, "build must be a function that makes the network"),
        ({"stages": "first"}, "stages='first' must be a list"),
        ({"stages": ["first", "neck"], "build": lambda: WithNeck()}, "names ['neck'] are taken"),
        ({"weights": {}}, "must be the path of a file with a state dict; got dict"),
        ({"preprocessing": {**PRESET, "resize_size": 8}}, "image_size <= resize_size"),
        ({"preprocessing": {**PRESET, "interpolation": "cubic"}}, "got 16, 16 and 'cubic'"),
    ],
)
def test_what_can_not_be(options, message):
    with pytest.raises(BackboneError, match=re.escape(message)):
        register(**options)
    assert NAME not in REGISTERED.registrations


@pytest.mark.parametrize("name", ["resnet18", "timm/mine", "efficientnet_lite0", 3, ""])
def test_names_that_can_not_be(name):
    with pytest.raises(BackboneError, match=r"Use another name|name=.* can't be used"):
        register_backbone(name, build, preprocessing=PRESET)


def test_a_failed_registration_keeps_the_one_before():
    register()
    with pytest.raises(BackboneError):
        register(lambda: None)
    assert load_backbone(NAME).width() == 6

"""A source that is added to the list is used everywhere, without a change elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, list_backbones
from sktransfer.backbones import names
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import backbone_names, source_of
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.sources.filling import filled_by_names
from sktransfer.backbones.stages import CutNetwork
from sktransfer.exceptions import BackboneError, WeightsUnavailableError
from tests.backbones.helpers import PRESET

NAME = "mine/two_layers"


class TwoLayers(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2)
        self.second = nn.Conv2d(4, 6, 3, 2)
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(6, num_classes)


class Mine:
    """A source of one network, whose published weights are a file with a prefix in its names."""

    is_listed, builds_for_a_size = True, False

    def __init__(self, name, path=None):
        self.name = name
        self.path = path

    def names(self):
        return (self.name,)

    def has(self, name):
        return name == self.name

    def known_sizes(self, name):
        return None

    def published_weights(self, name):
        return {"V1": Weights("V1", PRESET, 50.0, str(self.path))} if self.path else {}

    def preprocessing(self, name):
        return PRESET

    def at_hand(self, weights):
        return Path(self.path).is_file()

    def fetch(self, name, weights):
        if not Path(self.path).is_file():
            raise WeightsUnavailableError(f"My disk has no {weights.origin}.")
        return Path(self.path)

    def filled(self, name, weights, state):
        state = {key.removeprefix("my_"): value for key, value in state.items()}
        return filled_by_names(name, TwoLayers, weights, state)

    def build(self, name, num_classes, image_size):
        return TwoLayers(num_classes)

    def cut(self, name, network, weights):
        maps = [("first", network.first), ("second", network.second)]
        return CutNetwork(maps, [("neck", network.pooling)], network.fc, network.pooling)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    source = Mine(NAME, tmp_path / "mine.pth")
    torch.manual_seed(0)
    state = TwoLayers(5).state_dict()
    torch.save({f"my_{key}": value for key, value in state.items()}, source.path)
    monkeypatch.setitem(names.SOURCES, "mine", source)
    return source


def record_of(name):
    return next(record for record in list_backbones() if record["name"] == name)


def test_its_names_are_listed_and_found(mine):
    assert NAME in backbone_names()
    assert source_of(NAME) is mine
    with pytest.raises(BackboneError, match=f"Did you mean '{NAME}'.*84"):
        source_of("mine_two_layers")


@pytest.mark.usefixtures("mine")
def test_its_record():
    record = record_of(NAME)
    assert record["stages"] == {"first": 2, "second": 1, "neck": 0}
    assert (record["features"], record["input_size"]) == (6, PRESET.crop_size)
    assert record["weights"] == {"V1": 50.0}


@pytest.mark.parametrize("weights", ["DEFAULT", "V1"])
def test_its_weights_are_loaded(mine, weights):
    backbone = load_backbone(NAME, weights)
    assert backbone.pretrained
    assert backbone.has_classifier
    first = torch.load(mine.path, weights_only=True)["my_first.weight"]
    assert torch.equal(backbone.stages[0].module.weight, first)


def test_a_source_may_say_what_to_install(monkeypatch):
    class Missing(Mine):
        def names(self):
            return ()

        def has(self, name):
            if name.startswith("mine/"):
                raise BackboneError(f"backbone={name!r} needs a package. Install it by ...")
            return False

    monkeypatch.setitem(names.SOURCES, "mine", Missing(NAME))
    with pytest.raises(BackboneError, match=f"'{NAME}' needs a package"):
        load_backbone(NAME)
    with pytest.raises(BackboneError, match="Did you mean 'resnet18'"):
        load_backbone("resnet-18")


def test_its_error_reaches_the_user(mine):
    mine.path.unlink()
    with pytest.raises(WeightsUnavailableError, match="My disk has no"):
        load_backbone(NAME)


@pytest.mark.usefixtures("mine")
def test_estimators_take_its_names():
    X = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    extractor = PretrainedFeatureExtractor(NAME, stage=["first", "logits"], device="cpu")
    assert extractor.fit_transform(X).shape == (6, 4 + 5)
    classifier = PretrainedImageClassifier(NAME, device="cpu", random_state=0)
    assert classifier.fit(X, [0, 1] * 3).predict(X).shape == (6,)


def test_without_published_weights(monkeypatch):
    name = "mine/without_weights"  # records are kept by name
    monkeypatch.setitem(names.SOURCES, "mine", Mine(name))
    assert not load_backbone(name, None).pretrained
    assert record_of(name)["weights"] == {}
    with pytest.raises(BackboneError, match=f"published name for {name}. Use a path to"):
        load_backbone(name)


def test_weights_of_unknown_accuracy_equal_themselves():
    # Python 3.13 compares the fields of a record one by one, and NaN is not NaN.
    one, other = (Weights("random", PRESET, accuracy=float("nan")) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)

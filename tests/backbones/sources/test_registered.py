import logging
from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from sktransfer import PretrainedFeatureExtractor, list_backbones, register_backbone
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import REGISTERED, source_of
from sktransfer.backbones.sources.registered import identity_of_code
from sktransfer.exceptions import BackboneError
from tests.backbones.graph_networks import Blocks, Levels
from tests.backbones.test_registration import PRESET, forget
from tests.conftest import make_pictures

NAME = "mine/net"


@pytest.fixture(autouse=True)
def afterwards():
    yield
    forget(NAME)


def registered(network, **options):
    torch.manual_seed(0)
    made = network().eval()
    register_backbone(NAME, lambda: made, preprocessing=PRESET, **options)
    return made


@pytest.mark.parametrize(
    ("network", "stages"),
    [
        (Levels, ["level1", "level2", "level3", "neck"]),
        (Blocks, ["stem", "blocks_0", "blocks_1", "blocks_2", "neck"]),
    ],
)
def test_stages_are_found(network, stages):
    registered(network)
    assert [stage.name for stage in load_backbone(NAME).stages] == stages


def test_named_stages():
    registered(Levels, stages=["first", "layers.0", "layers.1"])
    names = [stage.name for stage in load_backbone(NAME).stages]
    assert names == ["first", "layers_0", "layers_1", "neck"]


class WithClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.norm, self.fc = Levels(), nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.norm(self.body(x).mean((2, 3))))


def test_a_classifier_is_left_out():
    network = registered(WithClassifier, classifier="fc")
    backbone = load_backbone(NAME)
    assert backbone.width() == 8
    assert backbone.pieces.classifier is network.fc
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        features = backbone.feature_network()(pixels)
        scores = backbone.feature_network("logits")(pixels)
    assert torch.equal(network.fc(features), scores)


def test_without_a_classifier_there_are_no_logits():
    registered(WithClassifier)
    assert load_backbone(NAME).width() == 5
    with pytest.raises(BackboneError, match="needs a pretrained classifier"):
        load_backbone(NAME).feature_network("logits")


class Branches(nn.Module):
    """A network that can't be recorded, because it looks at values."""

    def __init__(self):
        super().__init__()
        self.net, self.fc = Levels(), nn.Linear(8, 3)

    def forward(self, x):
        x = self.net(x).mean((2, 3))
        return self.fc(x if x.isfinite().all() else x * 0)


@pytest.mark.parametrize(("classifier", "width"), [(None, 3), ("fc", 8)])
def test_one_stage(caplog, classifier, width):
    with caplog.at_level(logging.INFO, logger="sktransfer"):
        registered(Branches, classifier=classifier)
    assert f"{NAME} is one stage, because it can't be cut" in caplog.text
    X = make_pictures(3)[0]
    assert PretrainedFeatureExtractor(NAME, device="cpu").fit_transform(X).shape == (3, width)


def test_tokens():
    registered(Blocks)
    X = make_pictures(2)[0]
    both = PretrainedFeatureExtractor(NAME, pooling="cls+avg", device="cpu").fit_transform(X)
    assert both.shape == (2, 16)


def test_the_code_of_a_network_is_part_of_its_digest():
    class Relu(nn.Sequential):
        pass

    class Gelu(nn.Sequential):
        def forward(self, x):
            return super().forward(x)

    layers = [nn.Linear(2, 2), nn.ReLU()]
    codes = [
        identity_of_code(each)
        for each in (Relu(*layers), Gelu(*layers), Relu(layers[0], nn.GELU()), Relu(*layers))
    ]
    assert codes[0] == codes[3]
    assert len(set(codes)) == 3


def test_activations_of_other_code_are_not_used(tmp_path):
    X = make_pictures(3)[0]
    features = []
    for activation in (nn.ReLU, nn.Sigmoid):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), activation(), nn.Conv2d(4, 4, 3, 2)).eval()
        register_backbone(NAME, lambda made=layers: made, preprocessing=PRESET)
        extractor = PretrainedFeatureExtractor(NAME, cache=tmp_path, device="cpu")
        features.append(extractor.fit_transform(X))
    assert not (features[0] == features[1]).any()


def test_entry_points(monkeypatch):
    def bring():
        registered(Levels)

    entry = EntryPoint(NAME, "package:bring", "sktransfer.backbones")
    monkeypatch.setattr(EntryPoint, "load", lambda _: bring)
    monkeypatch.setattr(
        "sktransfer.backbones.sources.registered.entry_points", lambda group: [entry][: bool(group)]
    )
    assert NAME not in REGISTERED.registrations
    assert NAME in REGISTERED.names()
    assert source_of(NAME) is REGISTERED
    assert any(record["name"] == NAME for record in list_backbones(source="registered"))
    forget(NAME)
    monkeypatch.setattr(EntryPoint, "load", lambda _: lambda: None)
    with pytest.raises(BackboneError, match="did not register a backbone of its name"):
        source_of(NAME)

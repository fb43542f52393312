import logging
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer import PretrainedFeatureExtractor, list_backbones, register_backbone
from sktransfer.activations.engines.folding import folded
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
    assert torch.equal(backbone.pieces.classifier.weight, network.fc.weight)
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
    registered(Blocks, n_prefix_tokens=1)
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


def test_a_broken_package_hides_no_other(monkeypatch, caplog):
    def fails():
        raise ModuleNotFoundError("no module named package")

    entry = EntryPoint(NAME, "package:bring", "sktransfer.backbones")
    monkeypatch.setattr(EntryPoint, "load", lambda _: fails)
    monkeypatch.setattr(
        "sktransfer.backbones.sources.registered.entry_points", lambda group: [entry][: bool(group)]
    )
    with caplog.at_level(logging.INFO, logger="sktransfer"):
        assert NAME not in REGISTERED.names()
    assert f"{NAME} is not listed" in caplog.text
    with pytest.raises(BackboneError, match="no module named package"):
        source_of(NAME)


class Unordered(nn.Module):
    """Neighbours that have something between them when they are called."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8)
        self.bn.running_mean.uniform_(-1, 1)

    def forward(self, x):
        return self.bn(self.conv(x).relu())


@pytest.mark.parametrize("inside", [False, True])
def test_neighbours_are_not_merged_by_their_order_alone(inside):
    registered((lambda: nn.Sequential(Unordered(), nn.ReLU())) if inside else Unordered)
    feature_network = load_backbone(NAME).feature_network()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(folded(feature_network)(pixels), feature_network(pixels), atol=1e-5)


def test_plain_attributes_are_part_of_the_code():
    class Leaky(nn.Module):
        def __init__(self, slope):
            super().__init__()
            self.slope = slope

        def forward(self, x):
            return torch.where(x > 0, x, self.slope * x)

    class Other(Leaky):
        def forward(self, x):
            return torch.where(x > 1, x, self.slope * x)

    layers = [nn.TransformerEncoderLayer(8, heads, batch_first=True) for heads in (2, 4)]
    codes = [identity_of_code(each) for each in (Leaky(0.1), Leaky(0.2), Other(0.1), *layers)]
    assert len(set(codes)) == 5
    assert identity_of_code(Leaky(0.1)) == codes[0]


def test_a_classifier_that_does_not_make_the_scores():
    class First(WithClassifier):
        def forward(self, x):
            return super().forward(x).softmax(1)

    registered(First, classifier="fc")
    assert not load_backbone(NAME).has_classifier


@pytest.mark.parametrize("network", [WithClassifier, Branches])
def test_the_users_own_model_stays_as_it_is(network):
    model = network().train()
    register_backbone(NAME, lambda: model, preprocessing=PRESET, classifier="fc")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model.fc, nn.Linear)


class FunctionalDropout(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.net, self.p = Levels(), p

    def forward(self, x):
        x = self.net(x).mean((2, 3))
        return nn.functional.dropout(x, self.p, self.training)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_functional_dropout_is_kept(p):
    registered(lambda: FunctionalDropout(p))
    stages = load_backbone(NAME).split("all")[1].train()
    x = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(stages(x), stages(x)) == (p == 0)


def test_a_network_that_confuses_one_picture_with_none():
    class Squeezes(Levels):
        def forward(self, x):
            return super().forward(x).mean((2, 3)).squeeze(0)

    with pytest.raises(BackboneError, match="1 pictures"):
        registered(Squeezes)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList(AddsInPlace() for _ in range(3))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2).contiguous()
        for block in self.blocks:
            x = block(x)
        return x


class AddsInPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        x += self.linear(x)
        return x


def test_blocks_that_work_in_place_do_not_change_earlier_features():
    registered(InPlace, n_prefix_tokens=1)
    X = make_pictures(2)[0]
    stages = [stage.name for stage in load_backbone(NAME).stages[:-1]]
    assert len(stages) == 4
    made = [
        PretrainedFeatureExtractor(
            NAME, stage=stage, pooling="flatten", device="cpu"
        ).fit_transform(X)
        for stage in (stages, *stages)
    ]
    np.testing.assert_allclose(made[0], np.hstack(made[1:]), atol=1e-5)

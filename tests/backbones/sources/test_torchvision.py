import pytest
import torch

from sktransfer.backbones.names import source_of
from sktransfer.backbones.sources.torchvision import Torchvision
from tests.backbones.helpers import published_weights


def test_published_preprocessing():
    v1 = published_weights("mobilenet_v2")["IMAGENET1K_V1"].preprocessing
    assert (v1.resize_size, v1.crop_size, v1.interpolation) == (256, 224, "bilinear")
    assert v1.mean == (0.485, 0.456, 0.406)
    assert v1.std == (0.229, 0.224, 0.225)
    assert published_weights("efficientnet_b0")["IMAGENET1K_V1"].preprocessing.interpolation == (
        "bicubic"
    )


def test_first_published_preset_is_version_one():
    assert source_of("mobilenet_v2").preprocessing("mobilenet_v2").resize_size == 256


def test_torchvisions_own_names_of_weights_are_aliases():
    weights = published_weights("resnet18")["IMAGENET1K_V1"]
    assert weights.aliases == ("ResNet18_Weights.IMAGENET1K_V1",)


def test_weights_are_at_hand_once_they_are_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = published_weights("resnet18")["IMAGENET1K_V1"]
    assert not Torchvision().at_hand(weights)
    file = tmp_path / "checkpoints" / weights.origin.rsplit("/", 1)[-1]
    file.parent.mkdir()
    file.touch()
    assert Torchvision().at_hand(weights)


def test_the_licence_is_torchvisions_unless_weights_name_another():
    licences = {key: each.license for key, each in published_weights("vit_b_16").items()}
    assert licences["IMAGENET1K_V1"] == "BSD-3-Clause"
    assert "SWAG/blob/main/LICENSE" in licences["IMAGENET1K_SWAG_LINEAR_V1"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("denseblock1.denselayer2.norm.1.weight", "denseblock1.denselayer2.norm1.weight"),
        ("denseblock4.denselayer16.conv.2.weight", "denseblock4.denselayer16.conv2.weight"),
        ("features.norm5.weight", "features.norm5.weight"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("no.such.name", "no.such.name"),
    ],
)
def test_renaming(old, new):
    value = object()
    assert Torchvision().renamed("densenet121", {old: value}) == {new: value}


def test_auxiliary_heads_are_left_out():
    heads = ("aux1.fc1.weight", "aux2.conv.bn.bias", "AuxLogits.fc.bias")
    kept = "inception3a.aux1.weight"
    state = dict.fromkeys([*heads, kept])
    assert list(Torchvision().renamed("googlenet", state)) == [kept]

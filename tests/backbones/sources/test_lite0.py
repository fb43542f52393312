from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.sources import lite0
from sktransfer.backbones.sources.lite0 import (
    EfficientNetLite0,
    Lite0,
    SamePadConv2d,
    from_published_names,
)
from sktransfer.backbones.weights import find_weights, read_weights
from sktransfer.exceptions import WeightsUnavailableError
from sktransfer.images.sources import as_images
from tests.backbones.helpers import TINY_STATE, pixels, run, same_values
from tests.conftest import SHARED, needs

NAME = "efficientnet_lite0"
SAMPLES = SHARED / "data" / "imagenet_samples"


@pytest.fixture(scope="module")
def published():
    return read_weights(NAME, find_weights(NAME, "DEFAULT"))


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(NAME)


def test_published_weights_come_with_a_package():
    weights = find_weights(NAME, "IMAGENET1K_V1")
    assert weights.origin is None
    assert Path(weights.path).is_file()


def test_the_package_is_found_once_it_is_installed(tmp_path, monkeypatch):
    package = "efficientnet_lite0_that_comes_later"
    monkeypatch.setattr(lite0, "_PACKAGE", package)
    monkeypatch.syspath_prepend(tmp_path)
    before = find_weights(NAME, "DEFAULT")
    with pytest.raises(WeightsUnavailableError, match="the package is not installed"):
        read_weights(NAME, before)
    models = tmp_path / package / "models"
    models.mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    torch.save(TINY_STATE, models / lite0._FILE)
    found = find_weights(NAME, "DEFAULT")
    assert same_values(read_weights(NAME, found), TINY_STATE)


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setattr(lite0, "find_spec", lambda _: None)
    weights = Lite0().published_weights(NAME)["IMAGENET1K_V1"]
    assert weights.preprocessing == Lite0().preprocessing(NAME)
    with pytest.raises(WeightsUnavailableError, match=r'pip install "sktransfer\[offline\]"'):
        read_weights(NAME, weights)


def test_renaming_is_complete(published):
    renamed = from_published_names(published)
    network = EfficientNetLite0()
    assert renamed.keys() == network.state_dict().keys()
    assert len(renamed) == len(published)
    network.load_state_dict(renamed, strict=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_conv_stem.weight", "features.0.0.weight"),
        ("_bn0.running_mean", "features.0.1.running_mean"),
        ("_blocks.0._depthwise_conv.weight", "features.1.0.block.0.weight"),
        ("_blocks.0._bn2.bias", "features.1.0.block.4.bias"),
        ("_blocks.2._expand_conv.weight", "features.2.1.block.0.weight"),
        ("_blocks.15._project_conv.weight", "features.7.0.block.6.weight"),
        ("_fc.bias", "classifier.1.bias"),
    ],
)
def test_renaming(old, new):
    value = torch.zeros(1)
    assert from_published_names({"_conv_stem.weight": value, old: value})[new] is value


def test_todays_names_stay():
    state = EfficientNetLite0().state_dict()
    assert list(from_published_names(state)) == list(state)


def test_backbone(backbone):
    assert backbone.pretrained
    assert backbone.has_classifier
    assert backbone.preprocessing.crop_size == 224
    assert backbone.preprocessing.interpolation == "bicubic"
    assert run([backbone.feature_network()], pixels()).shape == (2, 1280)
    assert run([backbone.feature_network("logits")], pixels()).shape == (2, 1000)


def test_pixels_are_scaled_as_in_training(backbone):
    entrance = backbone.feature_network()[0]
    x = torch.tensor([0, 127, 255], dtype=torch.uint8).expand(1, 3, 1, 3)
    expected = torch.tensor([-127 / 128, 0.0, 1.0]).expand(1, 3, 1, 3)
    assert torch.allclose(entrance(x), expected, atol=1e-6)


@pytest.mark.parametrize("size", [7, 8, 9, 224])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_keeps_every_stride(size, kernel, stride):
    conv = SamePadConv2d(1, 1, kernel, stride, bias=False)
    assert conv(torch.zeros(1, 1, size, size)).shape[-1] == -(-size // stride)


@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_at_stride_one_is_symmetric(kernel):
    conv = SamePadConv2d(2, 3, kernel, 1)
    plain = nn.Conv2d(2, 3, kernel, 1, kernel // 2)
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(1, 2, 6, 7)
    assert torch.allclose(conv(x), plain(x), atol=1e-6)


def test_an_odd_pixel_of_padding_goes_right_and_below():
    conv = SamePadConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.zeros(1, 1, 4, 4)
    x[..., 0, 0] = 1
    x[..., 3, 3] = 10
    # Windows start at 0 and 2, not at -1 and 1: each end of the diagonal lies in one.
    assert conv(x).flatten().tolist() == [1.0, 0.0, 0.0, 10.0]


def test_residuals_only_where_shapes_allow():
    blocks = [block for stage in EfficientNetLite0().features[1:-1] for block in stage]
    assert len(blocks) == 16
    assert [block.residual for block in blocks].count(True) == 9


def test_number_of_parameters_is_the_published_one():
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008


def test_a_bright_and_a_dark_picture_differ(backbone):
    network = backbone.feature_network()
    dark, bright = (torch.full((1, 3, 64, 64), v, dtype=torch.uint8) for v in (10, 240))
    assert not torch.allclose(run([network], dark), run([network], bright), rtol=0.1)


@needs(SAMPLES)
def test_logits_name_the_right_class(backbone):
    """The i-th picture by name shows ImageNet's class 5 i."""
    paths = sorted(SAMPLES.glob("*.JPEG"))[::2]
    network = backbone.feature_network("logits")
    one_pass = FrozenPass(network, backbone.preprocessing, EngineChoice("torch"), 20, 1)
    logits, unreadable = one_pass.collect(as_images(paths))
    assert unreadable == []
    right = logits.argmax(1).numpy() == 10 * np.arange(len(paths))
    assert right.mean() >= 0.88


@needs(SAMPLES)
def test_the_first_picture_is_a_tench(backbone):
    with Image.open(min(SAMPLES.glob("*.JPEG"))) as image:
        array = backbone.preprocessing(image.convert("RGB"))
    x = torch.from_numpy(array.copy()).permute(2, 0, 1)[None]
    probabilities = run([backbone.feature_network("logits")], x).softmax(1)
    assert probabilities.argmax() == 0
    assert probabilities.max() > 0.5


def test_random_weights_have_the_published_preset():
    assert Lite0().preprocessing(NAME).interpolation == "bicubic"

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.networks import build_empty
from sktransfer.backbones.sources import lite
from sktransfer.backbones.sources.lite import Lite, SamePadConv2d
from sktransfer.backbones.weights import find_weights, read_weights
from sktransfer.exceptions import WeightsError, WeightsUnavailableError
from sktransfer.images.sources import as_images
from tests.backbones.helpers import TINY_STATE, pixels, run, same_values
from tests.conftest import SHARED, needs

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
SAMPLES = SHARED / "data" / "imagenet_samples"


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def backbone(name):
    return load_backbone(name)


def test_published_weights_come_with_a_package(name):
    weights = find_weights(name, "IMAGENET1K_V1")
    assert weights.origin is None
    assert Path(weights.path).is_file()
    assert Lite().at_hand(weights)
    assert weights.license == "Apache-2.0"


def test_the_package_is_found_once_it_is_installed(name, tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "_package", lambda name: f"{name}_that_comes_later")
    monkeypatch.syspath_prepend(tmp_path)
    before = find_weights(name, "DEFAULT")
    with pytest.raises(WeightsUnavailableError, match="the package is not installed"):
        read_weights(name, before)
    folder = tmp_path / lite._package(name)
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    torch.save(TINY_STATE, folder / "models" / lite._VARIANTS[name].file)
    found = find_weights(name, "DEFAULT")
    assert same_values(read_weights(name, found), TINY_STATE)


def test_without_the_package_the_error_names_it(name, monkeypatch):
    monkeypatch.setattr(lite, "find_spec", lambda _: None)
    weights = Lite().published_weights(name)["IMAGENET1K_V1"]
    assert weights.preprocessing == Lite().preprocessing(name)
    assert not Lite().at_hand(weights)
    with pytest.raises(WeightsUnavailableError, match=rf'{name} .*install "sktransfer\[offline\]"'):
        read_weights(name, weights)


def test_the_extra_installs_the_packages_of_all_networks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [line.split("==")[0] for line in project["optional-dependencies"]["offline"]]
    assert extra == [lite._package(name).replace("_", "-") for name in NAMES]


def test_renaming_is_complete(name):
    published = read_weights(name, find_weights(name, "DEFAULT"))
    renamed = Lite().renamed(name, published)
    assert renamed.keys() == build_empty(name).state_dict().keys()
    assert len(renamed) == len(published)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("efficientnet_lite0", "_conv_stem.weight", "features.0.0.weight"),
        ("efficientnet_lite0", "_bn0.running_mean", "features.0.1.running_mean"),
        (
            "efficientnet_lite0",
            "_blocks.0._depthwise_conv.weight",
            "features.1.0.block.0.weight",
        ),
        ("efficientnet_lite0", "_blocks.0._bn2.bias", "features.1.0.block.4.bias"),
        ("efficientnet_lite0", "_blocks.2._expand_conv.weight", "features.2.1.block.0.weight"),
        ("efficientnet_lite0", "_blocks.15._project_conv.weight", "features.7.0.block.6.weight"),
        ("efficientnet_lite0", "_fc.bias", "classifier.1.bias"),
        ("efficientnet_lite1", "_blocks.3._bn0.weight", "features.2.2.block.1.weight"),
        ("efficientnet_lite2", "_blocks.19._bn0.weight", "features.6.4.block.1.weight"),
        ("efficientnet_lite2", "_blocks.20._bn0.weight", "features.7.0.block.1.weight"),
    ],
)
def test_renaming(name, old, new):
    value = torch.zeros(1)
    assert Lite().renamed(name, {"_conv_stem.weight": value, old: value})[new] is value


def test_todays_names_stay(name):
    state = build_empty(name).state_dict()
    assert list(Lite().renamed(name, state)) == list(state)


@pytest.mark.parametrize(("name", "other"), [(NAMES[0], NAMES[2]), (NAMES[2], NAMES[1])])
def test_the_weights_of_another_network_of_the_family(name, other):
    with pytest.raises(WeightsError, match=f"not those of {name}|do not fit {name}"):
        load_backbone(name, find_weights(other, "DEFAULT").path)


@pytest.mark.parametrize(
    ("name", "resize", "size"), [(NAMES[0], 256, 224), (NAMES[1], 272, 240), (NAMES[2], 292, 260)]
)
def test_pictures_are_prepared_as_by_tensorflow(name, resize, size):
    preprocessing = find_weights(name, "DEFAULT").preprocessing
    assert (preprocessing.resize_size, preprocessing.crop_size) == (resize, size)
    assert preprocessing.interpolation == "bicubic"
    assert find_weights(name, None).preprocessing == preprocessing


def test_backbone(backbone):
    assert backbone.pretrained
    assert backbone.has_classifier
    assert [stage.name for stage in backbone.stages] == [
        *(f"level{i}" for i in range(1, 6)),
        "neck",
    ]
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


@pytest.mark.parametrize(
    ("name", "blocks", "channels"),
    [
        (NAMES[0], [1, 2, 2, 3, 3, 4, 1], [16, 24, 40, 80, 112, 192, 320]),
        (NAMES[1], [1, 3, 3, 4, 4, 5, 1], [16, 24, 40, 80, 112, 192, 320]),
        (NAMES[2], [1, 3, 3, 4, 4, 5, 1], [16, 24, 48, 88, 120, 208, 352]),
    ],
)
def test_stages(name, blocks, channels):
    stages = build_empty(name).features[1:-1]
    assert [len(stage) for stage in stages] == blocks
    assert [stage[-1].block[-1].num_features for stage in stages] == channels
    # A residual only where shapes allow: never in the first block of a stage.
    assert [[block.residual for block in stage].count(True) for stage in stages] == [
        n - 1 for n in blocks
    ]


@pytest.mark.parametrize(
    ("name", "n"), [(NAMES[0], 4_652_008), (NAMES[1], 5_416_680), (NAMES[2], 6_092_072)]
)
def test_number_of_parameters_is_the_published_one(name, n):
    assert sum(p.numel() for p in build_empty(name).parameters()) == n


def test_a_bright_and_a_dark_picture_differ(backbone):
    network = backbone.feature_network()
    dark, bright = (torch.full((1, 3, 64, 64), v, dtype=torch.uint8) for v in (10, 240))
    assert not torch.allclose(run([network], dark), run([network], bright), rtol=0.1)


@needs(SAMPLES)
@pytest.mark.parametrize(("name", "least"), [(NAMES[0], 0.88), (NAMES[1], 0.86), (NAMES[2], 0.9)])
def test_logits_name_the_right_class(backbone, least):
    """The i-th picture by name shows ImageNet's class 5 i."""
    paths = sorted(SAMPLES.glob("*.JPEG"))[::2]
    network = backbone.feature_network("logits")
    one_pass = FrozenPass(network, backbone.preprocessing, EngineChoice("torch"), 20, 1)
    logits, unreadable = one_pass.collect(as_images(paths))
    assert unreadable == []
    right = logits.argmax(1).numpy() == 10 * np.arange(len(paths))
    assert right.mean() >= least


@needs(SAMPLES)
@pytest.mark.parametrize(("name", "least"), [(NAMES[0], 0.5), (NAMES[1], 0.4), (NAMES[2], 0.5)])
def test_the_first_picture_is_a_tench(backbone, least):
    with Image.open(min(SAMPLES.glob("*.JPEG"))) as image:
        array = backbone.preprocessing(image.convert("RGB"))
    x = torch.from_numpy(array.copy()).permute(2, 0, 1)[None]
    probabilities = run([backbone.feature_network("logits")], x).softmax(1)
    assert probabilities.argmax() == 0
    assert probabilities.max() > least

"""Networks of RGB pictures become networks of pictures with other channels."""

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer.backbones.input_channels import adapt_input, adapted_weight
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import SOURCES
from sktransfer.exceptions import BackboneError
from tests.backbones.helpers import lively_network
from tests.small_estimators import LITE0

# One of each family of torchvision, by its smallest network.
FAMILIES = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf"),
    *("resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vgg11", "vit_b_32"),
]


def random_pictures(n, channels, size):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (n, channels, size, size), dtype=np.uint8))


def features(backbone, pixels):
    with torch.inference_mode():
        return backbone.feature_network()(pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 13])
def test_the_weights_are_those_of_timm(channels):
    adapt_input_conv = pytest.importorskip("timm.models").adapt_input_conv
    weight = torch.randn(4, 3, 5, 5)
    expected = adapt_input_conv(channels, weight.clone())
    assert torch.equal(adapted_weight(weight, channels), expected)


@pytest.mark.parametrize("name", [LITE0, "resnet18", "timm/test_vit.r160_in1k"])
def test_channels_that_repeat_rgb_give_its_features(name):
    weights = "DEFAULT" if name == LITE0 else None
    rgb, twice = (load_backbone(name, weights, in_channels=n) for n in (3, 6))
    pixels = random_pictures(2, 3, rgb.preprocessing.crop_size)
    expected = features(rgb, pixels)
    found = features(twice, torch.cat([pixels, pixels], dim=1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_one_channel_gives_the_features_of_grey_rgb():
    # Exactly where red, green and blue have the same mean and std, as those of the Lites have.
    rgb, grey = (load_backbone(LITE0, in_channels=n) for n in (3, 1))
    pixels = random_pictures(2, 1, 224)
    expected = features(rgb, pixels.expand(-1, 3, -1, -1))
    found = features(grey, pixels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_all_families_are_adapted_at_their_input_only(name):
    source = SOURCES["torchvision"]
    torch.manual_seed(0)
    network = source.build(name, 10, None).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    size = 299 if name == "inception_v3" else 224
    adapt_input(name, network, (4, size, size))
    changed = [
        key for key, value in network.state_dict().items() if value.shape != before[key].shape
    ]
    assert len(changed) == 1
    assert torch.equal(
        network.state_dict()[changed[0]], adapted_weight(before[changed[0]], channels=4)
    )
    assert all(
        torch.equal(value, before[key])
        for key, value in network.state_dict().items()
        if key not in changed
    )


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_an_input_of_their_own(name, tmp_path):
    # Loaded from a file, they rescale their input: for other channels as for RGB.
    torch.save(lively_network(name, 96).state_dict(), tmp_path / "weights.pth")
    rgb, twice = (load_backbone(name, tmp_path / "weights.pth", in_channels=n) for n in (3, 6))
    pixels = random_pictures(2, 3, rgb.preprocessing.crop_size)
    expected = features(rgb, pixels)
    assert (expected[0] - expected[1]).abs().max() > 0.01 * expected.abs().max()
    found = features(twice, torch.cat([pixels, pixels], dim=1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_random_networks_are_the_same_each_time():
    one, other = (load_backbone("mnasnet0_5", None, seed=3, in_channels=5) for _ in range(2))
    third = load_backbone("mnasnet0_5", None, seed=4, in_channels=5)
    assert one is other
    assert one.digest != third.digest
    assert len({load_backbone("mnasnet0_5", None, in_channels=n).digest for n in (1, 3, 5)}) == 3


def test_the_adapted_convolution_can_train():
    backbone = load_backbone("mnasnet0_5", None, in_channels=5)
    _, stages = backbone.split("all")
    out = stages(random_pictures(2, 5, 64)).sum()
    out.backward()
    first = next(module for module in stages.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.shape[1] == 5
    assert first.weight.grad.abs().sum() > 0


class TwoStems(nn.Module):
    """Two convolutions read the picture; another one, first among the modules, does not."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 4, 1)
        self.one, self.other = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.last(self.one(x) + self.other(x.flip(-1))).mean((2, 3))


def test_the_convolutions_that_read_the_picture_are_adapted():
    network = TwoStems().eval()
    adapt_input("two", network, (5, 8, 8))
    assert [m.in_channels for m in (network.last, network.one, network.other)] == [3, 5, 5]
    assert network(torch.zeros(2, 5, 8, 8)).shape == (2, 4)


class Shifted(nn.Module):
    """A network that subtracts the means of red, green and blue itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("means", torch.full((3, 1, 1), 0.5))

    def forward(self, x):
        return self.conv(x - self.means).mean((2, 3))


@pytest.mark.parametrize(
    ("network", "channels", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(5 * 64, 4)), 5, "no convolution"),
        (nn.Sequential(nn.Conv2d(5, 4, 3), nn.Flatten()), 5, "no convolution"),
        (Shifted(), 5, "size of tensor"),
        (Shifted(), 1, "no convolution"),  # the picture becomes one of three channels
    ],
)
def test_networks_that_need_rgb_are_an_error(network, channels, message):
    with pytest.raises(BackboneError, match=f"in_channels={channels}: .*{message}.*in_channels=3"):
        adapt_input("net", network.eval(), (channels, 8, 8))
    assert not any(module._forward_pre_hooks for module in network.modules())

import pytest
import torch
from torch import nn

from sktransfer.backbones.features import Normalise, TappedStages
from sktransfer.backbones.pooling import Pool
from sktransfer.images.preprocessing import Preprocessing
from tests.backbones.helpers import PRESET, pixels


class Add(nn.Module):
    """Adds a number, and counts its calls."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.number


def test_normalise_by_hand():
    preset = Preprocessing(8, 8, "bilinear", (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    x = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 1, 2)
    expected = torch.tensor([[0.0, 1.0], [-1.0, 1.0], [-4.0, 0.0]])
    assert torch.allclose(Normalise(preset)(x)[0, :, 0], expected, atol=1e-6)


def test_normalise_is_torchvisions():
    from torchvision.transforms.v2.functional import normalize, to_dtype

    x = pixels(2, 16)
    expected = normalize(to_dtype(x, torch.float32, scale=True), PRESET.mean, PRESET.std)
    assert torch.allclose(Normalise(PRESET)(x), expected, rtol=1e-5, atol=1e-6)


def test_normalise_gives_the_precision_it_is_in():
    assert Normalise(PRESET)(pixels(1, 4)).dtype == torch.float32
    assert Normalise(PRESET).double()(pixels(1, 4)).dtype == torch.float64


def tapped(taps, classifier=None, reads=None):
    stages = [("a", Add(1)), ("b", Add(10)), ("c", Add(100))]
    return TappedStages(stages, taps, Pool("max"), classifier, reads)


@pytest.mark.parametrize(
    ("taps", "features"),
    [
        (["a"], [1.0]),
        (["c"], [111.0]),
        (["a", "c"], [1.0, 111.0]),
        (["c", "a", "b"], [111.0, 1.0, 11.0]),
    ],
)
def test_columns_in_the_order_of_the_taps(taps, features):
    assert tapped(taps)(torch.zeros(1, 1, 2, 2)).tolist() == [features]


def test_every_stage_runs_once():
    network = tapped(["a", "b", "c"])
    network(torch.zeros(1, 1, 2, 2))
    assert [stage.calls for stage in network.stages.values()] == [1, 1, 1]


@pytest.mark.parametrize(("reads", "logits"), [("b", 22.0), ("c", 222.0)])
def test_classifier_is_fed_the_stage_it_reads(reads, logits):
    double = nn.Sequential(Pool("max"), nn.Linear(1, 1, bias=False))
    nn.init.constant_(double[1].weight, 2.0)
    network = tapped(["logits", "a"], double, reads)
    assert network(torch.zeros(1, 1, 2, 2)).tolist() == [[logits, 1.0]]


def test_rows_are_not_pooled_again():
    network = TappedStages([("a", Pool("avg"))], ["a"], nn.AdaptiveMaxPool2d((1, 1)))
    assert network(torch.ones(2, 3, 4, 4)).shape == (2, 3)

import pytest
import torch
from torch import nn

from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.sources.filling import filled_by_names
from sktransfer.exceptions import WeightsError
from tests.backbones.helpers import PRESET

WEIGHTS = Weights("test", PRESET, path="w.pth")


def build(num_classes):
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, num_classes))


def fill(state):
    return filled_by_names("net", build, WEIGHTS, state)


def test_the_number_of_classes_is_that_of_the_file():
    state = build(7).state_dict()
    network, has_classifier = fill(state)
    assert has_classifier
    assert network[1].out_features == 7
    assert torch.equal(network[0].weight, state["0.weight"])


def test_half_precision_becomes_single():
    network, _ = fill({key: value.half() for key, value in build(2).state_dict().items()})
    assert network[0].weight.dtype == torch.float32


def test_without_a_classifier():
    state = {key: value for key, value in build(2).state_dict().items() if key[0] == "0"}
    network, has_classifier = fill(state)
    assert not has_classifier
    assert not network[0].weight.is_meta


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": None}, "1 of its 4 tensors are missing"),
        ({"2.weight": torch.zeros(1)}, "1 are unknown"),
        ({"0.weight": torch.zeros(3, 3)}, "0.weight has shape"),
        ({"0.weight": torch.zeros(4, 3, device="meta")}, "no values"),
    ],
)
def test_other_tensors_are_errors(change, message):
    state = {**build(2).state_dict(), **change}
    state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(WeightsError, match=message):
        fill(state)

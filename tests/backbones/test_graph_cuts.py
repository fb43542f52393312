import copy
import pickle

import pytest
import torch
from torch import nn

from sktransfer.backbones.graph_cuts import cut_by_graph, neck_by_graph
from sktransfer.exceptions import BackboneError
from tests.backbones.graph_networks import Blocks, Levels, cut, run, whole
from tests.backbones.helpers import same_values, values_of


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("make", [Levels, Blocks])
def test_all_stages_compute_what_the_network_computes(make, n):
    network = make()
    stages = cut(network)
    x = torch.randn(n, 3, 16, 16)
    assert torch.equal(run(stages, x), network(x))


def test_pieces_share_modules_and_train_as_these_do():
    network = Blocks()
    stages = cut(network)
    assert stages["blocks_1"].get_submodule("blocks.1") is network.blocks[1]
    x = torch.randn(4, 17, 8)
    stage = stages["blocks_1"].train()
    assert not torch.equal(stage(x), stage(x))  # dropout
    copied = copy.deepcopy(stage)
    copied(x).sum().backward()
    assert all(p.grad is not None for p in copied.parameters())
    assert all(p.grad is None for p in network.parameters())


def test_copies_and_pickles():
    stage = cut(Levels())["level2"]
    x = torch.randn(2, 4, 8, 8)
    for again in (copy.deepcopy(stage), pickle.loads(pickle.dumps(stage))):
        assert same_values(values_of(again), values_of(stage))
        assert torch.equal(again(x), stage(x))


def test_named_stages():
    network = Levels()
    stages = cut(network, stages=["first", "layers.0", "layers.1"])
    assert list(stages) == ["first", "layers_0", "layers_1"]
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(run(stages, x), network(x))
    assert stages["first"](x).shape == (2, 4, 8, 8)


class ChannelsLast(nn.Module):
    """Maps (n, h, w, c) between its modules."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, 4)
        self.layers = nn.Sequential(Halves(6), Halves(24))
        self.head = nn.Linear(96, 5)

    def forward(self, x):
        return self.layers(self.patch(x).permute(0, 2, 3, 1))


class Halves(nn.Module):
    """Put 2 x 2 positions into one."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(4 * width, 4 * width)

    def forward(self, x):
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 3)
        return self.linear(x.reshape(n, h // 2, w // 2, 4 * c))


def test_maps_have_their_channels_first():
    network = ChannelsLast()
    stages, shape = cut_by_graph(network, whole, 16)
    assert shape == (1, 1, 96)
    x, shapes = torch.randn(2, 3, 16, 16), []
    expected = network(x)
    for _, stage in stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(6, 4, 4), (24, 2, 2), (96, 1, 1)]
    assert torch.equal(x.permute(0, 2, 3, 1), expected)
    neck = neck_by_graph(network, lambda _, x: x.mean((1, 2)), shape)
    assert torch.equal(neck(x), expected.mean((1, 2)))


def test_the_neck_is_without_the_classifier():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x, pre_logits):
            x = self.norm(x.mean((2, 3)))
            return x if pre_logits else self.fc(x)

    network = nn.ModuleDict({"head": Head()})

    def call(network, x):
        return network["head"](x, pre_logits=True)

    with_it = neck_by_graph(network, call, (8, 2, 2))
    without = neck_by_graph(network, call, (8, 2, 2), without=["head.fc"])
    assert len(list(with_it.parameters())) == 4
    assert len(list(without.parameters())) == 2
    x = torch.randn(3, 8, 2, 2)
    assert torch.equal(with_it(x), without(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda network, x: [network(x), x], "output is not one tensor"),
        (lambda network, x: network(x) if x.sum() > 0 else x, "can't be recorded: TraceError"),
        (lambda network, x: network.missing(x), "can't be recorded: AttributeError"),
    ],
)
def test_networks_that_can_not_be_cut(call, message):
    with pytest.raises(BackboneError, match=message):
        cut_by_graph(Levels(), call, 16)

import copy
import pickle

import pytest
import torch
from torch import nn

from sktransfer.backbones.graph_cuts import cut_by_graph, neck_by_graph
from sktransfer.exceptions import BackboneError
from tests.backbones.helpers import same_values, values_of


def whole(network, x):
    return network(x)


def conv(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Levels(nn.Module):
    """Three levels of resolution, the second with a skip connection."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 4, 2)
        self.first = conv(4, 4)
        self.down, self.left, self.right = conv(4, 6, 2), conv(6, 6), conv(6, 6)
        self.layers = nn.Sequential(conv(6, 8, 2), conv(8, 8))

    def forward(self, x):
        x = self.first(self.stem(x))
        x = self.down(x)
        x = self.left(x) + self.right(x)
        return self.layers(x)


class Blocks(nn.Module):
    """A transformer of one resolution, whose blocks all get the same table of positions."""

    def __init__(self, n_blocks=3):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.register_buffer("positions", torch.randn(17, 8))
        self.blocks = nn.ModuleList(Block() for _ in range(n_blocks))
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        n = x.shape[0]
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(n, -1, -1), x], dim=1)
        positions = self.positions.sin()
        for block in self.blocks:
            x = block(x, positions)
        return self.norm(x.reshape(n, 17, 8))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x, positions):
        return x + self.dropout(self.linear(x + positions))


def cut(network, **options):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    network.eval()
    return dict(cut_by_graph(network, whole, 16, **options)[0])


def run(stages, x):
    for stage in stages.values():
        x = stage(x)
    return x


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("make", [Levels, Blocks])
def test_all_stages_compute_what_the_network_computes(make, n):
    network = make()
    stages = cut(network)
    x = torch.randn(n, 3, 16, 16)
    assert torch.equal(run(stages, x), network(x))


def test_levels_of_resolution():
    stages = cut(Levels())
    assert list(stages) == ["level1", "level2", "level3"]
    x, shapes = torch.randn(2, 3, 16, 16), []
    for stage in stages.values():
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(4, 8, 8), (6, 4, 4), (8, 2, 2)]


def test_blocks_of_one_resolution():
    network = Blocks()
    stages = cut(network)
    assert list(stages) == ["stem", "blocks_0", "blocks_1", "blocks_2"]
    # The last normalisation belongs to the last block.
    names = {name for name, _ in stages["blocks_2"].named_parameters()}
    assert names == {"blocks.2.linear.weight", "blocks.2.linear.bias", "norm.weight", "norm.bias"}


def test_each_parameter_is_in_one_stage():
    for network in (Levels(), Blocks()):
        found = [id(p) for stage in cut(network).values() for p in stage.parameters()]
        assert sorted(found) == sorted(id(p) for p in network.parameters())


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


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["first", "second"], "'second' is no submodule that it calls"),
        (["layers", "first"], "does not call .* in this order"),
        (["left", "right"], "After 'left', more than one tensor"),
    ],
)
def test_stages_that_can_not_be(stages, message):
    with pytest.raises(BackboneError, match=message):
        cut(Levels(), stages=stages)


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


def test_two_streams_are_one_stage():
    class Streams(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = conv(3, 4, 2), conv(3, 4, 2)

        def forward(self, x):
            return self.left(x) + self.right(x)

    assert list(cut(Streams())) == ["network"]


class Numbers(nn.Module):
    """Blocks that hand numbers on beside a tensor."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(WithSize() for _ in range(3))

    def forward(self, x):
        n, size = x.shape[0], (16, 16)
        for block in self.blocks:
            x, size = block(x, size)
        return x.reshape(n * 3, *size).reshape(n, 3, 256)


class WithSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x, size):
        h, w = size
        return self.conv(x).reshape(-1, 3, h, w), (h, w)


def test_numbers_beside_the_tensor():
    network = Numbers()
    stages, _ = cut_by_graph(network, whole, 16)
    x = torch.randn(2, 3, 16, 16)
    expected = network.blocks[2].conv(network.blocks[1].conv(network.blocks[0].conv(x)))
    y = x
    for _, stage in stages:
        y = stage(y)
    assert len(stages) == 3
    assert torch.equal(y, expected.flatten(2))

import pytest
import torch
from torch import nn

from sktransfer.backbones.graph_cuts import cut_by_graph
from sktransfer.exceptions import BackboneError
from tests.backbones.graph_networks import Blocks, Levels, conv, cut, whole


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

"""Small networks that are cut by their graphs."""

import torch
from torch import nn

from sktransfer.backbones.graph_cuts import cut_by_graph


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

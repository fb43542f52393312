import pickle

import torch
from torch import fx, nn

from sktransfer.backbones.piece import Piece
from tests.backbones.graph_networks import Blocks, cut


class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x):
        x = self.linear(x) * self.scale + self.shift
        return torch.cat([x, x[:, 1:3]], dim=1).clamp(min=0)


def recorded(network):
    tracer = fx.Tracer()
    tracer.proxy_buffer_attributes = True
    return tracer.trace(network)


def test_it_runs_the_steps():
    network, x = Steps(), torch.randn(3, 4)
    piece = Piece(recorded(network), lambda name: getattr(network, name))
    assert torch.equal(piece(x), network(x))
    assert piece.state_dict().keys() == network.state_dict().keys()
    assert piece.linear is network.linear
    assert dict(piece.named_buffers()).keys() == {"shift"}


def test_results_are_forgotten_after_their_last_use():
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    piece = Piece(recorded(network), network.get_submodule)
    assert piece._unused == {1: [0], 2: [1], 3: [2], 4: [3], 5: [4]}


def test_opening_a_pickle_records_nothing(monkeypatch):
    stage = cut(Blocks())["blocks_1"]
    pickled, x = pickle.dumps(stage), torch.randn(2, 17, 8)
    monkeypatch.setattr(fx.Tracer, "trace", None)
    assert torch.equal(pickle.loads(pickled)(x), stage(x))

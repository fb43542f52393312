import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sktransfer.backbones.tracing import BATCH, recorded, varies
from sktransfer.backbones.without_values import without_values


class Branches(nn.Module):
    """A network that asks for the sizes of its input, as transformers do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, 2)
        self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.register_buffer("grid", torch.arange(6.0))

    def forward(self, x):
        n, _, h, w = x.shape
        assert h == w
        x = self.conv(x)
        if x.ndim == 4 and x.size(2) == h // 2:
            x = self.body(x)
        if self.grid.numel() == 6:
            x = x + self.grid[0]
        tokens = x.flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(n, -1, -1), tokens], 1)


def record(network, call=lambda network, x: network(x), opened=()):
    return recorded(without_values(network), call, (3, 8, 8), set(opened))


def test_sizes_are_numbers_and_the_batch_is_not():
    graph = record(Branches())
    calls = [node.target for node in graph.nodes if node.op == "call_module"]
    assert calls == ["conv", "body.0", "body.1"]  # Sequential is opened
    (end,) = list(graph.nodes)[-1].all_input_nodes
    assert end.meta["value"].shape == (BATCH, 17, 4)
    assert {node.target for node in graph.nodes if node.op == "get_attr"} == {"token", "grid"}


def test_what_varies():
    nodes = {str(node.target): node for node in record(Branches()).nodes}
    assert varies(nodes["conv"])
    assert not varies(nodes["grid"])
    assert not varies(nodes["token"])


def test_modules_stay_whole_unless_opened():
    network = nn.ModuleDict({"inner": Branches()})

    def call(network, x):
        return network["inner"](x)

    targets = [node.target for node in record(network, call).nodes if node.op == "call_module"]
    assert targets == ["inner"]
    targets = [
        node.target for node in record(network, call, {"inner"}).nodes if node.op == "call_module"
    ]
    assert targets == ["inner.conv", "inner.body.0", "inner.body.1"]


@pytest.mark.parametrize(
    "call",
    [
        lambda network, x: network(x) if x.sum() > 0 else x,
        lambda network, x: network(x) if x.shape[0] > 3 else x,
    ],
    ids=["values", "batch"],
)
def test_branches_on_what_varies_are_errors(call):
    with pytest.raises(Exception, match="control flow"):
        record(Branches(), call)


def test_constants_that_the_network_makes():
    def call(network, x):
        return network.conv(x) * torch.arange(4.0)[:, None, None]

    graph = record(Branches(), call)
    (constant,) = (node for node in graph.nodes if "constant" in node.meta)
    assert torch.equal(constant.meta["constant"], torch.arange(4.0)[:, None, None])


def test_other_threads_run_modules_meanwhile():
    """torch replaces the calls of all modules while it records."""
    network, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(2, 3)
    expected, found = network(x), []

    def call(recorded_network, value):
        thread = threading.Thread(target=lambda: found.append(network(x)))
        thread.start()
        thread.join()
        return recorded_network(value)

    graph = record(Branches(), call)
    assert torch.equal(found[0], expected)
    assert any(node.target == "conv" for node in graph.nodes)


def test_threads_record_one_after_the_other():
    original = nn.Module.__call__
    with ThreadPoolExecutor(4) as pool:
        graphs = list(pool.map(lambda _: record(Branches()), range(8)))
    assert len({len(graph.nodes) for graph in graphs}) == 1
    assert nn.Module.__call__ is original

from itertools import pairwise

import pytest
import torch
from torch import nn

from sktransfer.activations.engines.folding import folded
from sktransfer.backbones.names import backbone_names
from tests.backbones.helpers import lively_network, run, same_values, values_of
from tests.backbones.test_stages import SIZES


def size_of(name):
    """A small picture that a network of this family can take."""
    if name.startswith(("vit_", "maxvit_")):
        return 224
    return 96 if name == "inception_v3" else 63 if name == "alexnet" else 64


def norms_after_convolutions(network):
    children = [list(module.children()) for module in network.modules()]
    pairs = [pair for modules in children for pair in pairwise(modules)]
    return [b for a, b in pairs if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d)]


def tensors_of(network):
    return {id(tensor) for tensor in (*network.parameters(), *network.buffers())}


def differs_by(got, expected):
    """Largest difference, relative to the largest value."""
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max()).item()


def picture_batch(size, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, size, size, generator=generator).to(dtype)


def check_folding(name, size):
    network = lively_network(name, size)
    if name.startswith("vgg"):
        network.classifier = (
            nn.Identity()
        )  # it takes nine tenths of the time, and has nothing to fold
    x = picture_batch(size)
    single, single_folded = run([network], x), run([folded(network)], x)
    n_norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    n_to_fold = len(norms_after_convolutions(network))
    if not n_to_fold:
        assert torch.equal(single_folded, single)
        assert tensors_of(folded(network)) == tensors_of(network)
        return
    network.double()
    before = values_of(network)
    twin = folded(network)
    assert norms_after_convolutions(twin) == []
    assert sum(isinstance(module, nn.BatchNorm2d) for module in twin.modules()) == (
        n_norms - n_to_fold
    )
    assert len(norms_after_convolutions(network)) == n_to_fold
    assert same_values(values_of(network), before)

    exact = run([network], x.double())
    assert differs_by(run([twin], x.double()), exact) < 1e-7
    # Float32 may round the folded network about as much as it rounds the network itself.
    rounding = differs_by(single.double(), exact)
    assert differs_by(single_folded.double(), exact) < 1e-5 + 3 * rounding


@pytest.mark.parametrize("name", SIZES)
def test_folded_equals_the_network(name):
    check_folding(name, SIZES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", backbone_names())
def test_folded_equals_every_network(name):
    check_folding(name, size_of(name))


def small_network():
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(4) for _ in range(3)]
    for norm in norms:
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        norms[0],
        nn.ReLU(),
        norms[1],  # after no convolution
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=2, bias=False), norms[2]),
        nn.Conv2d(4, 2, 1),
    ).eval()


@pytest.fixture
def network():
    with torch.random.fork_rng():
        return small_network().requires_grad_(False)


def test_by_hand():
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    values = zip(
        (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var),
        (2.0, 3.0, 10.0, 1.0, 5.0, 4.0),
        strict=True,
    )
    for tensor, value in values:
        nn.init.constant_(tensor, value)
    twin = folded(nn.Sequential(conv, norm).eval())
    # ((2 x + 3) - 5) / 2 * 10 + 1
    assert twin[0].weight.item() == 10
    assert twin[0].bias.item() == -9
    assert isinstance(twin[1], nn.Identity)


def test_norms_elsewhere_stay(network):
    twin = folded(network)
    kinds = [type(module).__name__ for module in twin.modules()]
    assert kinds.count("BatchNorm2d") == 1
    assert isinstance(twin[3], nn.BatchNorm2d)
    x = picture_batch(9)
    assert differs_by(run([twin], x), run([network], x)) < 1e-6


def test_unchanged_tensors_are_shared(network):
    twin = folded(network)
    shared = tensors_of(twin) & tensors_of(network)
    unchanged = [*network[3].parameters(), *network[3].buffers(), *network[5].parameters()]
    assert shared == {id(tensor) for tensor in unchanged}


def test_modules_are_not_shared(network):
    theirs = {id(module) for module in network.modules()}
    assert theirs.isdisjoint(id(module) for module in folded(network).modules())


def test_the_original_is_untouched(network):
    before, names = values_of(network), [type(m).__name__ for m in network.modules()]
    folded(network)
    assert same_values(values_of(network), before)
    assert [type(m).__name__ for m in network.modules()] == names


def test_what_is_folded_stays_frozen(network):
    twin = folded(network)
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert not any(m.training for m in twin.modules() if not isinstance(m, nn.Identity))


def test_folding_twice_changes_nothing_more(network):
    once = folded(network)
    twice = folded(once)
    assert tensors_of(twice) == tensors_of(once)


def test_the_order_of_names_stays(network):
    assert [name for name, _ in folded(network).named_children()] == list("012345")

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from sktransfer.backbones import frozen as frozen_module
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.frozen import FrozenNetwork, state_digest
from tests.backbones.helpers import PRESET, cut, lively_network, pixels, run

NAME = "shufflenet_v2_x0_5"
PIXELS = PRESET.cache_key


def make_backbone(name=NAME, preprocessing=PRESET):
    return Backbone(name, cut(NAME, lively_network(NAME)), preprocessing, has_classifier=True)


@pytest.fixture(scope="module")
def backbone():
    return make_backbone()


def linear(value=1.0):
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, value)
    nn.init.zeros_(layer.bias)
    return layer


def of(*links):
    return FrozenNetwork(links)


# The network.


def test_links_run_in_order():
    network = of(("double", linear(2.0)), ("relu", nn.ReLU()), ("half", linear(0.5)))
    x = torch.tensor([[1.0, 3.0], [-1.0, -3.0]])
    assert network(x).tolist() == [[8.0, 8.0], [0.0, 0.0]]
    assert network.link_names == ("double", "relu", "half")


def test_it_is_frozen():
    network = of(("a", nn.Sequential(linear(), nn.BatchNorm1d(2))))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


def test_after():
    network = of(("a", linear(2.0)), ("b", nn.ReLU()), ("c", linear(3.0)))
    assert network.after(0) is network
    assert list(network.after(1)) == list(network)[1:]
    assert list(network.after(3)) == []


@pytest.mark.parametrize("start", [1, 3, 5])
def test_the_rest_continues_where_the_first_links_end(backbone, start):
    network = backbone.feature_network()
    halfway = run(list(network)[:start], pixels())
    assert torch.equal(run([network.after(start)], halfway), run([network], pixels()))


def test_after_shares_its_modules(backbone):
    network = backbone.feature_network()
    assert network.after(2)[0] is network[2]


# Digests of the links' outputs.


def test_one_digest_more_than_links(backbone):
    network = backbone.feature_network()
    digests = network.digests(PIXELS)
    assert len(digests) == len(network) + 1
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {32}
    assert len(FrozenNetwork().digests(PIXELS)) == 1


def test_equal_links_have_equal_digests(backbone):
    again = make_backbone()
    for ask in (
        lambda b: b.feature_network(),
        lambda b: b.feature_network(["stem", "logits"], "max"),
        lambda b: b.frozen_network(2, "avg"),
    ):
        assert ask(backbone) is not ask(again)
        assert ask(backbone).digests(PIXELS) == ask(again).digests(PIXELS)


def test_two_depths_share_their_first_links(backbone):
    whole = backbone.frozen_network(0).digests(PIXELS)
    for depth in (1, 2, 3, "all"):
        part = backbone.frozen_network(depth).digests(PIXELS)
        assert len(part) < len(whole)
        assert part == whole[: len(part)]


def test_extractor_and_classifier_share_all_links(backbone):
    for pooling in ("native", "avg"):
        features = backbone.feature_network(None, pooling).digests(PIXELS)
        assert backbone.split(0, pooling)[0].digests(PIXELS) == features


def test_a_tapped_network_shares_the_links_before_its_first_tap(backbone):
    whole = backbone.frozen_network(0).digests(PIXELS)
    tapped = backbone.feature_network(["stage4", "stage3"]).digests(PIXELS)
    assert tapped[:-1] == whole[:4]  # pixels, normalise, stem, stage2
    assert tapped[-1] not in whole


def test_poolings_differ_from_the_pooling_on(backbone):
    poolings = ("native", "avg", "max", "flatten")
    digests = [backbone.feature_network(None, pooling).digests(PIXELS) for pooling in poolings]
    assert len({tuple(d[:-1]) for d in digests}) == 1
    assert len({d[-1] for d in digests}) == len(poolings)


def test_taps_differ(backbone):
    taps = ["stage2", "stage3", ["stage2", "stage3"], ["stage3", "stage2"], ["stage2", "logits"]]
    ends = [backbone.feature_network(tap).digests(PIXELS)[-1] for tap in taps]
    ends += [backbone.feature_network(tap, "max").digests(PIXELS)[-1] for tap in taps]
    assert len(set(ends)) == len(ends)


def test_names_of_networks_differ(backbone):
    other = make_backbone("other").feature_network().digests(PIXELS)
    ours = backbone.feature_network().digests(PIXELS)
    assert other[:2] == ours[:2]  # pixels and their normalisation
    assert not set(other[2:]) & set(ours[2:])


@pytest.mark.parametrize("name", ["mean", "std"])
def test_normalisations_differ_after_the_pixels(backbone, name):
    other = replace(PRESET, **{name: (0.5, 0.5, 0.5)})
    digests = make_backbone(preprocessing=other).feature_network().digests(other.cache_key)
    ours = backbone.feature_network().digests(PIXELS)
    assert digests[0] == ours[0]
    assert not set(digests[1:]) & set(ours[1:])


def test_a_changed_weight_changes_what_comes_after_it(backbone):
    changed = make_backbone()
    with torch.no_grad():
        next(changed.stages[1].module.parameters()).view(-1)[0] += 1e-6
    digests = changed.feature_network().digests(PIXELS)
    ours = backbone.feature_network().digests(PIXELS)
    assert digests[:3] == ours[:3]  # pixels, normalise, stem
    assert not set(digests[3:]) & set(ours[3:])


def test_links_in_another_order_differ():
    a, b = ("a", linear(1.0)), ("b", linear(2.0))
    assert of(a, b).digests(PIXELS)[-1] != of(b, a).digests(PIXELS)[-1]


def test_link_names_differ():
    assert of(("a", nn.ReLU())).digests(PIXELS) != of(("b", nn.ReLU())).digests(PIXELS)


def test_digests_do_not_depend_on_the_backbones_name():
    network = FrozenNetwork([("a", linear())], backbone_name="resnet18")
    assert network.backbone_name == "resnet18"
    assert network.digests(PIXELS) == of(("a", linear())).digests(PIXELS)


CHANGES = [
    {"resize_size": 70},
    {"crop_size": 60},
    {"interpolation": "bicubic"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_other_pixels_differ_everywhere(backbone, change):
    network = backbone.feature_network()
    ours = network.digests(PIXELS)
    assert not set(ours) & set(network.digests(replace(PRESET, **change).cache_key))


def test_pixels_do_not_depend_on_the_weights(backbone):
    ours = FrozenNetwork().digests(PIXELS)
    assert ours == backbone.frozen_network("all").digests(PIXELS)
    assert ours == backbone.feature_network().digests(PIXELS)[:1]
    assert ours == of(("a", linear())).digests(PIXELS)[:1]


def test_another_protocol_differs_everywhere(backbone, monkeypatch):
    network = backbone.feature_network()
    ours = network.digests(PIXELS)
    monkeypatch.setattr(frozen_module, "PROTOCOL", frozen_module.PROTOCOL + 1)
    assert not set(ours) & set(network.digests(PIXELS))


def test_the_order_of_memory_does_not_matter(backbone):
    network = lively_network(NAME).to(memory_format=torch.channels_last)
    assert not network.conv1[0].weight.is_contiguous()
    other = Backbone(NAME, cut(NAME, network), PRESET)
    ours = backbone.feature_network().digests(PIXELS)
    assert other.feature_network().digests(PIXELS) == ours


def test_the_process_does_not_matter(backbone):
    # On one thread, as the tests: the network's statistics come from a forward pass.
    code = f"""
import torch
torch.set_num_threads(1)
from sktransfer.backbones.backbone import Backbone
from tests.backbones.helpers import PRESET, cut, lively_network
network = lively_network({NAME!r})
backbone = Backbone({NAME!r}, cut({NAME!r}, network), PRESET, has_classifier=True)
for digest in backbone.feature_network(["stem", "logits"]).digests(PRESET.cache_key):
    print(digest.hex())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = backbone.feature_network(["stem", "logits"]).digests(PIXELS)
    assert done.stdout.split() == [digest.hex() for digest in ours]


# Digests of states.


def test_values_shapes_types_and_names_matter():
    digests = {state_digest(nn.ParameterList([torch.zeros(2, 3)]))}
    digests.add(state_digest(nn.ParameterList([torch.zeros(3, 2)])))
    digests.add(state_digest(nn.ParameterList([torch.ones(2, 3)])))
    digests.add(state_digest(nn.ParameterList([torch.zeros(2, 3, dtype=torch.float64)])))
    digests.add(state_digest(nn.ParameterDict({"a": torch.zeros(2, 3)})))
    digests.add(state_digest(nn.ReLU()))
    assert len(digests) == 6


@pytest.mark.parametrize(
    "write",
    [
        lambda layer: layer.weight.add_(1),
        lambda layer: layer.bias.view(-1)[1:].fill_(7),
        lambda layer: layer.load_state_dict(linear(5.0).state_dict()),
        lambda layer: nn.init.constant_(layer.weight, 3.0),
    ],
    ids=["in place", "a view", "loading", "initialising"],
)
def test_writing_to_a_value_changes_its_digest(write):
    layer = linear()
    before = state_digest(layer)
    with torch.no_grad():
        write(layer)
    assert state_digest(layer) != before


@pytest.mark.parametrize(
    "replace_weight",
    [
        lambda layer, weight: setattr(layer, "weight", weight),
        lambda layer, weight: setattr(layer.weight, "data", weight.data),
        lambda layer, weight: layer.load_state_dict(
            {"weight": weight, "bias": layer.bias}, assign=True
        ),
    ],
    ids=["parameter", "data", "assigning"],
)
def test_another_tensor_in_its_place_changes_the_digest(replace_weight):
    layer = nn.Linear(2, 2)
    before = state_digest(layer)
    weight = nn.Linear(2, 2).weight  # written to as often
    replace_weight(layer, weight)
    assert state_digest(layer) != before


def test_values_that_come_back_have_the_old_digest():
    layer = linear()
    before = state_digest(layer)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        changed = state_digest(layer)
        layer.weight.fill_(1.0)
    assert changed != before
    assert state_digest(layer) == before


def test_unwritten_values_are_digested_once(monkeypatch):
    layer = linear()
    hashed = []
    original = frozen_module.hashlib.sha256
    monkeypatch.setattr(
        frozen_module.hashlib, "sha256", lambda *x: hashed.append(1) or original(*x)
    )
    first = state_digest(layer)
    assert state_digest(layer) == first
    assert hashed == [1]


def test_digests_keep_no_module_alive():
    before = len(frozen_module._STATE_DIGESTS)
    layer = linear()
    state_digest(layer)
    assert len(frozen_module._STATE_DIGESTS) == before + 1
    del layer
    assert len(frozen_module._STATE_DIGESTS) == before

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.features import Normalise
from sktransfer.backbones.networks import build_random
from sktransfer.exceptions import BackboneError
from tests.backbones.helpers import (
    PRESET,
    cut,
    empty_backbone,
    lively_network,
    pixels,
    run,
    same_values,
    values_of,
)

NAME = "shufflenet_v2_x0_5"


def close(x, y):
    return x.shape == y.shape and torch.allclose(x, y, rtol=1e-5, atol=1e-5 * y.abs().max().item())


def make_backbone(name=NAME, **options):
    return Backbone(name, cut(name, lively_network(name)), PRESET, **options)


@pytest.fixture(scope="module")
def backbone():
    return make_backbone(pretrained=True, has_classifier=True)


@pytest.fixture(scope="module")
def bare():
    return make_backbone(pretrained=True)


def own_forward(name, x):
    return run([Normalise(PRESET), lively_network(name)], x)


def maps_after(backbone, n):
    modules = [module for _, module in backbone.pieces.maps[:n]]
    return run([Normalise(PRESET), *modules], pixels())


# Building.


def test_network_is_frozen(backbone):
    parts = [stage.module for stage in backbone.stages]
    assert not any(p.requires_grad for part in parts for p in part.parameters())
    assert not any(module.training for part in parts for module in part.modules())


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_inceptions_input_is_remapped_for_pretrained_weights_only(name, pretrained):
    backbone, _ = empty_backbone(name, pretrained=pretrained)
    entrance = type(backbone.stages[0].module[0]).__name__
    assert (entrance == "InceptionInput") == pretrained


def test_depth_skips_stages_without_weight_matrices(backbone):
    depths = {stage.name: stage.depth for stage in backbone.stages}
    assert depths == {"stem": 4, "stage2": 3, "stage3": 2, "stage4": 1, "neck": 1}


def test_normalisation_goes_with_the_counted_stage_before_it():
    depths = {stage.name: stage.depth for stage in empty_backbone("convnext_tiny")[0].stages}
    assert depths["neck"] == depths["stage4"] == 1


def test_digest_tells_weights_apart(backbone):
    same = make_backbone(has_classifier=True)
    assert same.digest == backbone.digest
    with torch.no_grad():
        next(same.stages[2].module.parameters()).view(-1)[0] += 1e-3
    changed = replace(same)  # the digest of the old one is kept
    assert changed.digest != backbone.digest


def test_digest_tells_names_apart(backbone):
    other = Backbone("other", backbone.pieces, backbone.preprocessing)
    assert other.digest != backbone.digest


def test_digest_tells_preprocessings_apart(backbone):
    other = Backbone(backbone.name, backbone.pieces, replace(PRESET, std=(0.5, 0.5, 0.5)))
    assert other.digest != replace(other, preprocessing=PRESET).digest


def test_digest_tells_classifiers_apart():
    network = lively_network(NAME)
    first, second, third = (
        Backbone(NAME, cut(NAME, n), PRESET, has_classifier=h)
        for n, h in ((network, True), (copy.deepcopy(network), True), (network, False))
    )
    with torch.no_grad():
        second.pieces.classifier.bias[0] += 1e-3
    assert len({first.digest, second.digest, third.digest}) == 3


def test_digest_does_not_depend_on_the_order_of_memory(backbone):
    network = lively_network(NAME).to(memory_format=torch.channels_last)
    other = Backbone(NAME, cut(NAME, network), PRESET, has_classifier=True)
    assert other.digest == backbone.digest


# Features.


def test_features_are_what_the_last_linear_is_fed(backbone):
    features = run([backbone.feature_network()], pixels())
    assert features.shape == (2, 1024)
    assert close(backbone.pieces.classifier(features), own_forward(NAME, pixels()))


def test_every_feature_network_is_frozen(backbone):
    for stage in (None, "stage2", ["stage2", "logits"]):
        network = backbone.feature_network(stage)
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("pooling", "by_hand"),
    [
        ("native", lambda maps: maps.mean((2, 3))),
        ("avg", lambda maps: maps.mean((2, 3))),
        ("max", lambda maps: maps.amax((2, 3))),
        ("flatten", lambda maps: maps.flatten(1)),
    ],
)
@pytest.mark.parametrize(("stage", "n"), [(None, 4), ("stem", 1), ("stage3", 3)])
def test_pooling_of_a_stage(backbone, pooling, by_hand, stage, n):
    features = run([backbone.feature_network(stage, pooling)], pixels())
    assert close(features, by_hand(maps_after(backbone, n)))


@pytest.mark.parametrize("pooling", ["native", "max"])
@pytest.mark.parametrize(
    "taps", [["stage2", "stage4"], ["stage4", "stem"], ["logits", "stage2", "neck"]]
)
def test_several_stages_are_concatenated(backbone, taps, pooling):
    features = run([backbone.feature_network(taps, pooling)], pixels())
    alone = [run([backbone.feature_network(tap, pooling)], pixels()) for tap in taps]
    assert close(features, torch.cat(alone, dim=1))


def test_one_name_and_a_list_of_one_are_the_same(backbone):
    one = run([backbone.feature_network("stage2")], pixels())
    assert torch.equal(one, run([backbone.feature_network(["stage2"])], pixels()))
    assert torch.equal(one, run([backbone.feature_network(("stage2",))], pixels()))


def test_stages_after_the_last_tap_do_not_run(backbone):
    assert list(backbone.feature_network(["stage2", "stem"])[-1].stages) == ["stem", "stage2"]


def test_stages_are_shared_and_not_copied(backbone):
    stem, stage2, *_ = (stage.module for stage in backbone.stages)
    for network in (backbone.feature_network("stage4"), backbone.frozen_network(1)):
        assert network[1] is stem
        assert network[2] is stage2
    assert backbone.feature_network("stem")[-1].stages["stem"] is stem


@pytest.mark.parametrize(
    ("taps", "before_the_first_tap", "tapped"),
    [
        ("stem", [], ["stem"]),
        ("stage3", ["stem", "stage2"], ["stage3"]),
        (["stage4", "stage2"], ["stem"], ["stage2", "stage3", "stage4"]),
        ("logits", ["stem", "stage2", "stage3", "stage4"], ["neck"]),
        (["logits", "neck"], ["stem", "stage2", "stage3", "stage4"], ["neck"]),
    ],
)
def test_links_of_a_tapped_network(backbone, taps, before_the_first_tap, tapped):
    network = backbone.feature_network(taps)
    stages = [f"{NAME} {name}" for name in before_the_first_tap]
    names = taps if isinstance(taps, str) else " ".join(taps)
    assert network.link_names == ("normalise", *stages, f"{NAME} {names} native")
    assert list(network[-1].stages) == tapped


@pytest.mark.parametrize(
    "ask",
    [
        lambda backbone: backbone.feature_network(),
        lambda backbone: backbone.feature_network(["stem", "stage3"], "max"),
        lambda backbone: backbone.frozen_network(1),
        lambda backbone: backbone.frozen_network("all"),
        lambda backbone: backbone.split(2, "avg")[0],
    ],
)
def test_asking_again_gives_the_same_network(backbone, ask):
    assert ask(backbone) is ask(backbone)


def test_asking_for_something_else_gives_another_network(backbone):
    networks = [backbone.feature_network(None, pooling) for pooling in ("native", "avg", "max")]
    networks += [backbone.feature_network(stage) for stage in ("stem", ["stem", "stage2"])]
    networks += [backbone.frozen_network(depth) for depth in (1, 2, "all")]
    assert len({id(network) for network in networks}) == len(networks)


@pytest.mark.parametrize("pooling", ["native", "avg", "flatten"])
@pytest.mark.parametrize("name", [NAME, "squeezenet1_1", "mobilenet_v3_small"])
def test_logits_are_the_networks_own(name, pooling):
    backbone = make_backbone(name, has_classifier=True)
    features = run([backbone.feature_network("logits", pooling)], pixels())
    assert close(features, own_forward(name, pixels()))


def test_stages_after_the_native_pooling_can_be_tapped():
    backbone = make_backbone("mobilenet_v3_small")
    features = run([backbone.feature_network(["neck", "fc"])], pixels())
    assert features.shape == (2, 576 + 1024)
    assert close(features[:, 576:], run([backbone.feature_network()], pixels()))


@pytest.mark.parametrize("tap", ["layer5", "", "Stem", "features.0"])
def test_unknown_stage_lists_the_stages(backbone, tap):
    with pytest.raises(BackboneError, match=r"\['stem', 'stage2', 'stage3', 'stage4', 'neck'\]"):
        backbone.feature_network(tap)


def test_unknown_stage_among_known_ones_is_named(backbone):
    with pytest.raises(BackboneError, match="stage='nonsense' is not a stage"):
        backbone.feature_network(["stem", "nonsense"])


def test_logits_need_a_classifier(bare):
    with pytest.raises(BackboneError, match=r"needs a pretrained classifier.*'stage4'"):
        bare.feature_network(["stem", "logits"])


@pytest.mark.parametrize("none", [[], ()])
def test_no_stage_is_an_error(backbone, none):
    with pytest.raises(BackboneError, match="names no stage"):
        backbone.feature_network(none)


@pytest.mark.parametrize("taps", [["stem", "stem"], ["logits", "stem", "logits"]])
def test_a_stage_twice_is_an_error(backbone, taps):
    with pytest.raises(BackboneError, match="twice"):
        backbone.feature_network(taps)


# Width.


@pytest.mark.parametrize(
    ("name", "stage", "pooling", "width"),
    [
        ("vgg16", None, "native", 4096),
        ("vgg16", None, "avg", 512),
        ("vgg16", None, "flatten", 25088),
        ("vgg16", "block5", "flatten", 25088),
        ("vgg16", "block5", "native", 25088),
        ("vgg16", ["block1", "fc1"], "avg", 64 + 4096),
        ("vgg16", "logits", "native", 1000),
        ("resnet50", ["layer3", "layer4"], "native", 1024 + 2048),
        ("vit_b_32", "encoder_layer_0", "native", 768),
        ("vit_b_32", None, "avg", 768),
        ("vit_b_32", None, "flatten", 50 * 768),
        ("swin_t", "stage1", "max", 96),
    ],
)
def test_width(name, stage, pooling, width):
    backbone, _ = empty_backbone(name, has_classifier=True)
    assert backbone.width(stage, pooling) == width


@pytest.mark.parametrize("pooling", ["native", "flatten"])
def test_width_is_that_of_the_rows(backbone, pooling):
    network = backbone.feature_network("stage3", pooling)
    assert backbone.width("stage3", pooling) == run([network], pixels()).shape[1]
    assert backbone.width("stage3", pooling, 96) == run([network], pixels(size=96)).shape[1]


def test_width_moves_nothing(backbone):
    network = backbone.feature_network()
    backbone.width()
    assert not any(value.is_meta for value in network.state_dict().values())


@pytest.mark.parametrize(("name", "size"), [("alexnet", 16), ("vit_b_32", 100), ("vgg11", 8)])
def test_impossible_size_is_named(name, size):
    backbone, _ = empty_backbone(name)
    with pytest.raises(BackboneError, match=f"{name} can't take .*image_size={size}.*224"):
        backbone.width(image_size=size)


# Splitting.


@pytest.mark.parametrize("pooling", ["native", "max"])
def test_with_depth_zero_the_frozen_part_is_the_feature_network(backbone, pooling):
    assert backbone.frozen_network(0, pooling) is backbone.feature_network(None, pooling)


@pytest.mark.parametrize("pooling", ["native", "avg", "max", "flatten"])
@pytest.mark.parametrize("depth", [0, 1, 2, 4, "all"])
def test_parts_together_are_the_feature_network(backbone, depth, pooling):
    frozen, trainable = backbone.split(depth, pooling)
    features = run([frozen, trainable.eval()], pixels())
    assert close(features, run([backbone.feature_network(None, pooling)], pixels()))


@pytest.mark.parametrize(
    ("depth", "trained"),
    [
        (0, []),
        (1, ["stage4", "neck"]),
        (3, ["stage2", "stage3", "stage4", "neck"]),
        ("all", ["normalise", "stem", "stage2", "stage3", "stage4", "neck"]),
        (4, ["normalise", "stem", "stage2", "stage3", "stage4", "neck"]),
    ],
)
def test_depth_says_which_stages_train(backbone, depth, trained):
    frozen, trainable = backbone.split(depth)
    assert [name for name, _ in trainable.named_children()] == trained
    assert all(parameter.requires_grad for parameter in trainable.parameters())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    counts = [sum(p.numel() for p in part.parameters()) for part in (frozen, trainable)]
    assert sum(counts) == sum(
        p.numel() for stage in backbone.stages for p in stage.module.parameters()
    )


def test_with_depth_zero_only_the_pooling_is_left(backbone):
    _, trainable = backbone.split(0)
    assert list(trainable.parameters()) == []


def test_with_all_the_frozen_part_hands_the_pixels_on(backbone):
    frozen, _ = backbone.split("all")
    assert len(frozen) == 0
    assert torch.equal(frozen(pixels()), pixels())


def test_pooling_replaces_what_follows_it():
    backbone, _ = empty_backbone("vgg11")
    assert backbone.split("all", "avg")[1].state_dict().keys().isdisjoint({"fc1.0.weight"})
    assert "fc1.0.weight" in backbone.split("all")[1].state_dict()
    assert [name for name, _ in backbone.split(1, "avg")[1].named_children()] == ["block5", "neck"]


@pytest.mark.parametrize("depth", [5, 100])
def test_too_deep(backbone, depth):
    with pytest.raises(BackboneError, match=f"unfreeze_depth={depth} .*0 to 4, or 'all'"):
        backbone.split(depth)


def test_limit_of_the_depth_depends_on_the_pooling():
    backbone, _ = empty_backbone("vgg11")
    backbone.split(7)
    with pytest.raises(BackboneError, match=r"pooling='avg': use 0 to 5"):
        backbone.split(7, "avg")


@pytest.mark.parametrize("pretrained", [True, False])
def test_training_the_copy_leaves_the_shared_stages(pretrained):
    backbone = make_backbone(pretrained=pretrained)
    shared = nn.ModuleList(stage.module for stage in backbone.stages)
    before = values_of(shared)
    frozen, trainable = backbone.split(2)
    copied = values_of(trainable)
    optimizer = torch.optim.SGD(trainable.train().parameters(), lr=0.1)
    trainable(frozen(pixels(4))).square().sum().backward()
    optimizer.step()
    assert same_values(before, values_of(shared))
    moved = {k for k, v in trainable.state_dict().items() if not torch.equal(v, copied[k])}
    assert "stage3.0.branch1.0.weight" in moved
    assert ("stage3.0.branch1.1.running_mean" in moved) == (not pretrained)


def test_two_splits_do_not_share_what_trains(backbone):
    first, second = backbone.split(1)[1], backbone.split(1)[1]
    ours = {parameter.data_ptr() for parameter in first.parameters()}
    assert ours.isdisjoint(parameter.data_ptr() for parameter in second.parameters())


def test_split_of_random_weights_learns_its_statistics():
    network = build_random(NAME, 0)
    assert Backbone(NAME, cut(NAME, network), PRESET).split(1)[1].fixed_statistics is False
    network = copy.deepcopy(network)
    pretrained = Backbone(NAME, cut(NAME, network), PRESET, pretrained=True)
    assert pretrained.split(1)[1].fixed_statistics is True

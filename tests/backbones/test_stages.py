import pytest
import torch
from torch import nn

from sktransfer.backbones import stages
from sktransfer.backbones.catalogue import list_backbones
from sktransfer.backbones.names import backbone_names
from sktransfer.backbones.stages import ClassToken, InceptionInput
from tests.backbones.helpers import cut, empty_backbone, lively_network, run

SIZES = {
    "alexnet": 63,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_lite0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "vgg11": 32,
    "vgg11_bn": 32,
    "vit_b_32": 224,
    "wide_resnet50_2": 64,
}
REMAPPED = [("googlenet", True), ("inception_v3", True)]


@pytest.mark.parametrize(("name", "remaps"), [*((name, False) for name in SIZES), *REMAPPED])
def test_stages_then_classifier_equal_own_forward(name, remaps):
    network = lively_network(name, SIZES[name])
    if name in ("googlenet", "inception_v3"):
        network.transform_input = remaps  # as torchvision's builders do with weights
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, SIZES[name], SIZES[name], generator=generator)
    expected = run([network], x)
    scale = expected.abs().max().item()
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * scale  # the picture matters

    pieces = cut(name, network, pretrained=remaps)
    assert pieces.reads_map == (name == "squeezenet1_1")
    named = pieces.maps if pieces.reads_map else [*pieces.maps, *pieces.neck]
    logits = run([*(module for _, module in named), pieces.classifier], x)
    assert torch.allclose(logits, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["mobilenet_v2", "swin_t", "vit_b_32"])
def test_no_stage_can_be_left_out(name):
    pieces = cut(name, lively_network(name, SIZES[name]))
    x = torch.randn(1, 3, SIZES[name], SIZES[name])
    modules = [module for _, module in pieces.maps]
    with torch.inference_mode():
        for module in modules:
            before, x = x, module(x)
            assert x.shape != before.shape or not torch.allclose(x, before, rtol=1e-2)


@pytest.fixture(scope="module")
def records():
    return {record["name"]: record for record in list_backbones()}


def check_structure(name, record):
    backbone, network = empty_backbone(name, record["input_size"])
    stages, classifier = backbone.stages, backbone.pieces.classifier

    held = [p for stage in stages for p in stage.module.parameters()]
    held += list(classifier.parameters())
    assert len({id(p) for p in held}) == len(held), "a parameter belongs to two pieces"
    assert {id(p) for p in held} == {id(p) for p in network.parameters()}
    last = list(network.state_dict(keep_vars=True).values())[-1]
    assert any(last is p for p in classifier.parameters())  # loading finds it there

    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    assert list(record["stages"]) == names
    depths = [stage.depth for stage in stages]
    assert depths == sorted(depths, reverse=True)
    assert set(depths) <= set(range(1, depths[0] + 1))
    leaves = [m for stage in stages for m in stage.module.modules() if not list(m.children())]
    assert not isinstance(leaves[-1], nn.Dropout), "the head's dropout is in the last stage"

    assert backbone.width() == record["features"]
    x = torch.empty(1, 3, record["input_size"], record["input_size"], device="meta")
    for number, (_, module) in enumerate([*backbone.pieces.maps, *backbone.pieces.neck]):
        x = module.to("meta")(x)
        assert x.ndim in ((3, 4) if number < len(backbone.pieces.maps) else (2,))


SOME = [
    *("convnext_tiny", "densenet121", "inception_v3", "maxvit_t", "mobilenet_v3_large"),
    *("regnet_y_16gf", "squeezenet1_0", "vgg16_bn", "vit_b_16"),
]


@pytest.mark.parametrize("name", SOME)
def test_structure(name, records):
    check_structure(name, records[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", backbone_names())
def test_structure_of_all(name, records):
    check_structure(name, records[name])


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("resnet18", [56, 56, 28, 14, 7]),
        ("mobilenet_v2", [112, 56, 28, 14, 7]),
        ("efficientnet_b0", [112, 56, 28, 14, 7]),
        ("shufflenet_v2_x0_5", [56, 28, 14, 7]),
        ("densenet121", [56, 56, 28, 14, 7]),
        ("vgg11", [112, 56, 28, 14, 7]),
        ("swin_t", [56, 56, 28, 14, 7]),
    ],
)
def test_stages_are_levels_of_resolution(name, sides):
    x, found = torch.empty(1, 3, 224, 224, device="meta"), []
    for _, module in empty_backbone(name)[0].pieces.maps:
        x = module.to("meta")(x)
        found.append(x.shape[-1])
    assert found == sides


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("alexnet", ["block1", "block2", "block3", "neck", "fc1", "fc2"]),
        ("googlenet", ["stem", "inception3", "inception4", "inception5", "neck"]),
        ("inception_v3", ["stem", "mixed5", "mixed6", "mixed7", "neck"]),
        ("squeezenet1_1", ["level1", "level2", "level3", "level4", "neck"]),
        ("swin_t", ["stem", "stage1", "stage2", "stage3", "stage4", "neck"]),
        ("maxvit_t", ["stem", "block1", "block2", "block3", "block4", "neck", "fc"]),
        ("vit_b_32", ["stem", *(f"encoder_layer_{i}" for i in range(12)), "neck"]),
    ],
)
def test_names_of_stages(name, names):
    assert [stage.name for stage in empty_backbone(name)[0].stages] == names


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "vgg11", "efficientnet_b0"])
def test_dropout_before_the_last_linear_is_left_out(name):
    backbone, network = empty_backbone(name)
    dropout = network.classifier[-2]
    assert isinstance(dropout, nn.Dropout)
    parts = [m for stage in backbone.stages for m in stage.module.modules()]
    assert not any(module is dropout for module in parts)


def test_inception_input_goes_from_imagenet_statistics_to_plus_minus_one():
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    shades = torch.tensor([0.0, 0.25, 1.0])
    x = ((shades - mean[:, None]) / std[:, None])[None, :, None]  # (1, 3, 1, 3 shades)
    out = InceptionInput()(x)
    assert torch.allclose(out, (2 * shades - 1).expand(1, 3, 1, 3), atol=1e-6)


def test_class_token_is_the_first():
    tokens = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(ClassToken()(tokens), torch.tensor([[0.0, 1, 2, 3], [12, 13, 14, 15]]))


def test_unknown_network_has_no_rule():
    with pytest.raises(TypeError, match="Linear"):
        stages.cut(nn.Linear(2, 2))

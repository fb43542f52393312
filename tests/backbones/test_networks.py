import random

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer.backbones.networks import build_empty, build_random
from tests.backbones.helpers import same_values

SMALL = "shufflenet_v2_x0_5"


@pytest.mark.parametrize("name", ["regnet_y_400mf", "swin_v2_t", "vit_b_32", "efficientnet_lite0"])
def test_empty_has_names_and_shapes_but_no_values(name):
    empty, full = build_empty(name), build_random(name, 0)
    assert all(parameter.is_meta for parameter in empty.parameters())
    shapes = {key: value.shape for key, value in empty.state_dict().items()}
    assert shapes == {key: value.shape for key, value in full.state_dict().items()}


def test_empty_batch_statistics_have_no_values():
    norms = [m for m in build_empty("resnet18").modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == 20
    assert all(m.running_mean.is_meta and m.running_var.is_meta for m in norms)


def test_empty_leaves_torch_as_it_was():
    build_empty(SMALL)
    assert not torch.empty(1).is_meta
    assert not torch.zeros(1).is_meta


@pytest.mark.parametrize("name", [SMALL, "efficientnet_lite0", "vit_b_32", "squeezenet1_1"])
def test_number_of_classes(name):
    *_, bias = build_empty(name, num_classes=7).parameters()
    assert bias.shape == (7,)


def test_image_size_matters_to_vision_transformers_only():
    vit = build_empty("vit_b_32", image_size=96)
    assert vit.encoder.pos_embedding.shape == (1, 1 + 3 * 3, 768)
    plain, sized = build_empty(SMALL), build_empty(SMALL, image_size=96)
    shapes = [parameter.shape for parameter in plain.parameters()]
    assert shapes == [parameter.shape for parameter in sized.parameters()]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_not_built(name):
    assert not [key for key in build_empty(name).state_dict() if key.lower().startswith("aux")]


def test_same_seed_same_weights():
    first = build_random(SMALL, 3).state_dict()
    assert same_values(first, build_random(SMALL, 3).state_dict())


def test_other_seed_other_weights():
    first, other = build_random(SMALL, 3).state_dict(), build_random(SMALL, 4).state_dict()
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_weights_do_not_depend_on_the_global_state():
    torch.manual_seed(11)
    first = build_random(SMALL, 3).state_dict()
    torch.manual_seed(12)
    assert same_values(first, build_random(SMALL, 3).state_dict())


def test_building_leaves_the_global_random_states_unchanged():
    torch.rand(1)  # not the state that another build may have left
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    build_random(SMALL, 3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


@pytest.mark.parametrize("build", [build_empty, lambda name: build_random(name, 0)])
def test_built_in_evaluation_mode(build):
    assert not any(module.training for module in build(SMALL).modules())

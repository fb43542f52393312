from functools import partial

import pytest
import torch
from skorch import NeuralNet
from torch import nn

from sktransfer.exceptions import ParameterError
from sktransfer.training.optimizers import OPTIMIZERS, learning_rates, optimizer_options
from tests.training.helpers import small_stages


class Plain(torch.optim.Optimizer):
    """An optimizer that takes no weight decay."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})


def built(optimizer, weight_decay):
    """The optimizer that skorch makes of the options."""
    net = NeuralNet(
        nn.Linear(2, 2), nn.MSELoss, lr=0.5, **optimizer_options(optimizer, weight_decay)
    )
    return net.initialize().optimizer_


def test_rates_fall_from_the_head_down():
    groups = dict(learning_rates({"layer3": 2, "layer4": 1}, lr=1.0, lr_decay=0.5))
    assert groups == {"stages.layer3.*": {"lr": 0.25}, "stages.layer4.*": {"lr": 0.5}}


def test_every_parameter_is_in_the_group_of_its_stage():
    module = nn.ModuleDict({"stages": small_stages(), "head": nn.Linear(6, 3)})
    rates = learning_rates({"low": 2, "high": 1}, lr=1.0, lr_decay=0.1)
    net = NeuralNet(module, nn.MSELoss, lr=1.0, optimizer__param_groups=rates).initialize()
    groups = net.optimizer_.param_groups
    assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.1, 1.0])
    parts = (module["stages"].low, module["stages"].high, module["head"])
    for group, part in zip(groups, parts, strict=True):
        assert {id(p) for p in group["params"]} == {id(p) for p in part.parameters()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("auto", torch.optim.AdamW),
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
    ],
)
def test_optimizers_by_name(name, kind):
    optimizer = built(name, 0.03)
    assert type(optimizer) is kind
    assert optimizer.defaults["weight_decay"] == 0.03
    assert optimizer.defaults["lr"] == 0.5


def test_sgd_has_nesterovs_momentum():
    assert {"momentum": 0.9, "nesterov": True}.items() <= built("sgd", 0.0).defaults.items()


def test_options_by_name_are_not_shared():
    optimizer_options("sgd", 0.1)["optimizer__momentum"] = 0
    assert OPTIMIZERS["sgd"]["optimizer__momentum"] == 0.9


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, partial(torch.optim.SGD, momentum=0.5)])
def test_optimizers_by_class_get_the_weight_decay(optimizer):
    assert built(optimizer, 0.03).defaults["weight_decay"] == 0.03


def test_an_optimizer_without_weight_decay_is_told_if_some_is_asked_for():
    assert isinstance(built(Plain, 0), Plain)
    with pytest.raises(ParameterError, match=r"takes no weight_decay, but weight_decay=0\.1"):
        optimizer_options(Plain, 0.1)

import pytest
import torch
from torch import nn

from sktransfer.backbones.freezing import TrainableStages, freeze
from tests.backbones.helpers import same_values, values_of


def stage():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())


def shifted_pictures():
    return 5 + torch.randn(8, 3, 6, 6)


@pytest.mark.parametrize(("fixed", "moves"), [(True, False), (False, True)])
def test_batchnorm_statistics_in_training(fixed, moves):
    stages = TrainableStages([("one", freeze(stage()))], fixed_statistics=fixed).train()
    before = values_of(stages)
    stages(shifted_pictures())
    after = values_of(stages)
    for key in ("one.1.running_mean", "one.1.running_var", "one.1.num_batches_tracked"):
        assert torch.equal(before[key], after[key]) != moves


def test_fixed_statistics_survive_repeated_train_and_eval():
    stages = TrainableStages([("one", stage())], fixed_statistics=True)
    for mode in (True, False, True, True):
        stages.train(mode)
        assert not stages.one[1].training
        assert stages.one[2].training == mode
        assert stages.training == mode


def test_moving_statistics_stop_in_evaluation():
    stages = TrainableStages([("one", stage())], fixed_statistics=False).eval()
    before = values_of(stages)
    stages(shifted_pictures())
    assert same_values(before, values_of(stages))


def test_statistics_hold_for_every_kind_of_batchnorm():
    kinds = [nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2)]
    stages = TrainableStages([(str(i), m) for i, m in enumerate(kinds)], fixed_statistics=True)
    assert [module.training for module in stages.train()] == [False, False, False]


def test_batchnorm_scale_and_shift_still_train():
    stages = TrainableStages([("one", freeze(stage()))], fixed_statistics=True).train()
    stages(shifted_pictures()).sum().backward()
    assert all(parameter.grad is not None for parameter in stages.parameters())
    assert len(list(stages.parameters())) == 4


def test_train_and_eval_give_the_stages_themselves():
    stages = TrainableStages([("one", stage())], fixed_statistics=True)
    assert stages.train() is stages
    assert stages.eval() is stages


def test_stages_are_copies():
    original = freeze(stage())
    before = values_of(original)
    stages = TrainableStages([("one", original)], fixed_statistics=False).train()
    with torch.no_grad():
        for parameter in stages.parameters():
            parameter.add_(1)
    stages(shifted_pictures())
    assert same_values(before, values_of(original))
    assert not any(parameter.requires_grad for parameter in original.parameters())
    assert not any(module.training for module in original.modules())
    assert all(parameter.requires_grad for parameter in stages.parameters())


def test_names_are_kept():
    stages = TrainableStages([("b", stage()), ("a", stage())], fixed_statistics=True)
    assert [name for name, _ in stages.named_children()] == ["b", "a"]


def test_freeze_is_in_place_and_complete():
    module = stage()
    assert freeze(module) is module
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(part.training for part in module.modules())


def test_frozen_gives_the_same_twice():
    module, x = freeze(stage()), shifted_pictures()
    before = values_of(module)
    assert torch.equal(module(x), module(x))  # no dropout
    assert same_values(before, values_of(module))


def test_a_batchnorm_that_does_not_train_yet_keeps_its_statistics():
    stages = TrainableStages(
        [("waits", nn.BatchNorm2d(2)), ("trains", nn.BatchNorm2d(2))], fixed_statistics=False
    )
    stages.get_submodule("waits").requires_grad_(False)
    stages.train()
    stages(torch.randn(8, 2, 3, 3) + 5)
    assert torch.equal(stages.get_submodule("waits").running_mean, torch.zeros(2))
    assert not torch.equal(stages.get_submodule("trains").running_mean, torch.zeros(2))


def test_stages_that_share_a_parameter_train_it_as_one():
    shared = nn.Linear(3, 3)
    stages = TrainableStages(
        [("a", nn.Sequential(shared)), ("b", nn.Sequential(shared, nn.ReLU()))]
    )
    assert stages.a[0] is stages.b[0]
    assert stages.a[0] is not shared
    assert len(list(stages.parameters())) == 2

import torch
from torch import nn

from sktransfer.training.averaging import WeightAverage


def module():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def step(module, seed):
    """A step of a training that moves parameters and buffers, and the parameters after it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
        module[1].running_mean.add_(1)
    return values(module)


def values(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def close(values, others):
    return all(torch.allclose(a, b) for a, b in zip(values, others, strict=True))


def test_the_average_by_hand():
    trains = module()
    average = WeightAverage(trains, 0.9)
    expected = None
    for seed in range(4):
        own = step(trains, seed)
        average.update()
        expected = (
            own
            if expected is None
            else [0.9 * old + 0.1 * new for old, new in zip(expected, own, strict=True)]
        )
    average.show(True)
    assert close(values(trains), expected)
    average.show(False)
    assert close(values(trains), own)


def test_showing_twice_is_showing_once():
    trains = module()
    average = WeightAverage(trains, 0.5)
    step(trains, 0)
    average.update()
    own = step(trains, 1)
    average.update()
    for shown in (True, True, False, False):
        average.show(shown)
        assert close(values(trains), own) != shown


def test_the_parameters_stay_the_same_objects():
    trains = module()
    before = list(trains.parameters())
    average = WeightAverage(trains, 0.5)
    average.show(True)
    assert all(a is b for a, b in zip(before, trains.parameters(), strict=True))


def test_buffers_are_the_modules_own():
    trains = module()
    average = WeightAverage(trains, 0.5)
    step(trains, 0)
    average.update()
    average.show(True)
    assert trains[1].running_mean.tolist() == [1, 1]


def test_before_any_step_the_average_is_the_beginning():
    trains = module()
    before = values(trains)
    average = WeightAverage(trains, 0.5)
    average.show(True)
    assert close(values(trains), before)


def test_a_state_that_is_taken_up_goes_on_the_same():
    def begun():
        trains = module()
        with torch.no_grad():
            for parameter in trains.parameters():
                parameter.fill_(1)
        average = WeightAverage(trains, 0.8)
        return trains, average

    trains, average = begun()
    step(trains, 0)
    average.update()
    average.show(True)
    again, other = begun()
    again.load_state_dict(trains.state_dict())
    other.load_state_dict(average.state_dict())
    for each_module, each_average in ((trains, average), (again, other)):
        each_average.show(False)
        step(each_module, 1)
        each_average.update()
        each_average.show(True)
    assert all(torch.equal(a, b) for a, b in zip(values(trains), values(again), strict=True))

import pytest
import torch
from torch import nn

from sktransfer.adaptation.moments import Alignment, adapted_statistics, source_moments
from sktransfer.backbones.statistics import Statistics
from sktransfer.exceptions import DeviceMemoryError, WeightsError
from tests.backbones.helpers import same_values, values_of


def make_network(*last):
    """Two convolutions with BatchNorm, whose statistics are not those of any picture here."""
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), *last),
    )
    for layer in (network[1], network[4]):
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def make_batches(*lengths):
    """Batches of which each has another mean and spread."""
    return [i + (i + 1) * torch.randn(n, 3, 8, 8) for i, n in enumerate(lengths)]


ALONE = Alignment({}, 0.0)


def found(network, batches, alignment=ALONE):
    statistics = adapted_statistics(network, batches, alignment, "cpu")
    return [statistics[layer] for layer in (network[1], network[4])]


def moments(values):
    """Mean and variance of all values of a channel, in double precision."""
    flat = values.double().transpose(0, 1).flatten(1)
    return flat.mean(1), flat.var(1, correction=0)


def close(one, other):
    for values, expected in zip(one, other, strict=True):
        torch.testing.assert_close(values.double(), expected.double(), rtol=1e-5, atol=1e-6)


def test_one_batch_gives_the_statistics_of_training():
    network = make_network()
    (batch,) = make_batches(9)
    one, other = found(network, [batch])
    for layer in (network[1], network[4]):
        layer.momentum = 1.0
    trained = network.train()
    maps = [network[0](batch), network[:4](batch)]
    close(one, moments(maps[0]))
    close(other, moments(maps[1]))
    trained(batch)
    torch.testing.assert_close(other.mean, network[4].running_mean)


def test_moments_of_batches_are_pooled():
    network = make_network()
    batches = make_batches(4, 7, 2)
    one, other = found(network, batches)
    close(one, moments(network[0](torch.cat(batches))))
    # The second layer sees what the first has normalised by each batch alone.
    network[1].train()
    close(other, moments(torch.cat([network[:4](batch) for batch in batches])))


def test_the_order_of_batches_does_not_matter():
    network = make_network()
    batches = make_batches(4, 7, 2, 3)
    for one, other in zip(found(network, batches), found(network, batches[::-1]), strict=True):
        close(one, other)


def test_statistics_are_mixed_with_those_of_the_source_in_each_layer():
    network = make_network()
    (batch,) = make_batches(6)
    one, other = found(network, [batch], Alignment({}, 0.25))
    source = [(layer.running_mean, layer.running_var) for layer in (network[1], network[4])]
    mean, var = moments(network[0](batch))
    mixed = 0.25 * source[0][0] + 0.75 * mean, 0.25 * source[0][1] + 0.75 * var
    close(one, mixed)
    # The second layer is measured on what the first gives by the mixed statistics.
    network[1].running_mean.copy_(mixed[0])
    network[1].running_var.copy_(mixed[1])
    mean, var = moments(network[:4](batch))
    close(other, (0.25 * source[1][0] + 0.75 * mean, 0.25 * source[1][1] + 0.75 * var))


def test_only_the_source_counts_where_its_share_is_all():
    network = make_network()
    one, other = found(network, make_batches(3), Alignment({}, 1.0))
    close(one, (network[1].running_mean, network[1].running_var))
    close(other, (network[4].running_mean, network[4].running_var))


# Pictures of the source.


def outputs(network, batch):
    """What the two BatchNorm layers give."""
    return network[:2](batch), network[:5](batch)


def test_moments_of_the_source_are_those_of_the_network_as_it_is():
    network = make_network()
    batches = make_batches(4, 7, 2)
    whole = torch.cat(batches)
    expected = moments(network[0](whole)), moments(network[:4](whole))
    for given in (batches, [whole]):
        statistics = source_moments(network, given, "cpu")
        for layer, values in zip((network[1], network[4]), expected, strict=True):
            close(statistics[layer], values)


def test_outputs_for_the_target_have_the_moments_of_those_for_the_source():
    network = make_network()
    source, target = make_batches(9, 8)
    alignment = Alignment(source_moments(network, [source], "cpu"), 0.0)
    before = [moments(x) for x in outputs(network, source)]
    for layer, values in adapted_statistics(network, [target], alignment, "cpu").items():
        values.put_into(layer)
    for x, expected in zip(outputs(network, target), before, strict=True):
        torch.testing.assert_close(moments(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_pictures_of_the_source_need_no_other_statistics(share):
    network = make_network()
    (source,) = make_batches(9)
    alignment = Alignment(source_moments(network, [source], "cpu"), share)
    for layer, values in adapted_statistics(network, [source], alignment, "cpu").items():
        torch.testing.assert_close(
            values, Statistics.of(layer), check_dtype=False, rtol=1e-4, atol=1e-5
        )


def test_moments_of_both_are_mixed():
    layer = nn.BatchNorm2d(1).eval()
    source, target = (
        Statistics(torch.tensor([m]), torch.tensor([v])) for m, v in ((2, 4), (6, 16))
    )
    mixed = Alignment({layer: source}, 0.25)(layer, target)
    # mean 5, variance 13; the layer's own are 0 and 1.
    ratio = ((13 + 1e-5) / (4 + 1e-5)) ** 0.5
    assert mixed.mean.item() == pytest.approx(5 - ratio * 2)
    assert mixed.var.item() == pytest.approx(ratio**2, rel=1e-4)


def test_channels_without_variance_stay_finite():
    layer = nn.BatchNorm2d(1).eval()
    constant = Statistics(torch.zeros(1), torch.zeros(1))
    for source, target in ((constant, constant), (constant, Statistics.of(layer))):
        for values in Alignment({layer: source}, 0.0)(layer, target):
            assert values.isfinite().all()
        assert values > -layer.eps


def test_the_network_stays_as_it_is():
    network = make_network()
    before = values_of(network)
    found(network, make_batches(3, 3))
    assert same_values(before, network.state_dict())
    assert not network[1]._forward_pre_hooks
    assert not network.training


def test_nothing_is_drawn():
    batches = make_batches(5, 5)
    torch.manual_seed(0)
    plain = make_network(nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5))
    dropping = nn.Sequential(*plain[:5], nn.Dropout(0.9), *plain[5:]).eval()
    one, other = (
        list(adapted_statistics(n, batches, ALONE, "cpu").values()) for n in (plain, dropping)
    )
    for values, expected in zip(one, other, strict=True):
        assert torch.equal(values.mean, expected.mean)


class Activated(nn.BatchNorm2d):
    """A layer that does more than normalise, as timm's do."""

    def forward(self, x):
        return super().forward(x).relu()


def test_layers_that_do_more_than_normalise_do_it():
    network = make_network()
    layer = Activated(4).eval()
    layer.load_state_dict(network[1].state_dict())
    fused = nn.Sequential(network[0], layer, nn.Identity(), *network[3:])
    batches = make_batches(4, 4)
    for one, other in zip(found(network, batches), found(fused, batches), strict=True):
        close(one, other)


def test_a_large_mean_costs_no_digits():
    network = nn.Sequential(nn.BatchNorm2d(1)).eval()
    batches = [1000 + 0.1 * torch.randn(50, 1, 20, 20) for _ in range(20)]
    (values,) = adapted_statistics(network, batches, ALONE, "cpu").values()
    mean, var = moments(torch.cat(batches))
    torch.testing.assert_close(values.mean.double(), mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(values.var.double(), var, rtol=1e-3, atol=0)


def test_layers_that_are_not_reached_are_left_out():
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.used(x)

    skipping = Skipping().eval()
    assert list(adapted_statistics(skipping, make_batches(3), ALONE, "cpu")) == [skipping.used]


def test_values_that_are_not_finite_are_an_error():
    network = make_network()
    network[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(WeightsError, match="NaN or infinite"):
        found(network, make_batches(3))


class OutOfMemory(nn.Module):
    def forward(self, x):
        raise torch.OutOfMemoryError


def test_too_little_memory_is_told():
    network = make_network(OutOfMemory())
    with pytest.raises(DeviceMemoryError, match=r"a batch of 3 pictures. Use a smaller batch_size"):
        found(network, make_batches(3))

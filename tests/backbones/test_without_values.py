import torch
from torch import nn

from sktransfer.backbones.without_values import ParametersOnMeta, without_values


def test_built_without_values():
    with ParametersOnMeta():
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    # But for the count of batches, which is a number.
    assert all(value.is_meta for value in network.state_dict().values() if value.ndim)
    assert network(torch.empty(5, 3, device="meta")).is_meta


def test_a_copy_leaves_the_original_as_it_is():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    copied = without_values(network)
    assert copied(torch.empty(5, 3, device="meta")).shape == (5, 4)
    assert all(value.is_meta for value in copied.state_dict().values())
    assert not any(value.is_meta for value in network.state_dict().values())

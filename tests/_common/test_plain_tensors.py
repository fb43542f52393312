import pickle
from collections import namedtuple

import pytest
import torch
from torch import nn

from sktransfer._common.plain_tensors import PlainTensor, with_plain_tensors, with_tensors


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(2, 3),
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(4, 3, 1, 1).contiguous(memory_format=torch.channels_last),
        torch.randn(3, 4, 5).permute(2, 0, 1),
        torch.randn(5)[::2],
        torch.randn(4, 1).expand(4, 3),
        torch.tensor(7),
        torch.zeros(0, 3),
        torch.tensor([True, False]),
        torch.randn(3).to(torch.bfloat16),
        torch.randn(3, dtype=torch.complex64),
        torch.tensor([float("nan"), -0.0, float("inf")]),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}",
)
def test_a_tensor_comes_back_bit_by_bit(tensor):
    again = pickle.loads(pickle.dumps(PlainTensor.of(tensor))).tensor()
    assert (again.dtype, again.shape) == (tensor.dtype, tensor.shape)
    torch.testing.assert_close(again, tensor, rtol=0, atol=0, equal_nan=True)
    assert not isinstance(again, nn.Parameter)
    if tensor.is_contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else False:
        assert again.stride() == tensor.stride()


def test_memory_is_its_own():
    tensor = torch.zeros(3)
    plain = PlainTensor.of(tensor)
    first, second = plain.tensor(), plain.tensor()
    first += 1
    assert not tensor.any()
    assert not second.any()


class Shared(nn.Module):
    """Layers that share a parameter, one that is frozen, and tensors of every kind."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.register_buffer("kept", torch.arange(3.0))
        self.register_buffer("not_kept", torch.arange(3), persistent=False)
        self.constant = torch.full((3,), 2.0)

    def forward(self, x):
        return self.second(self.first(x)) * self.constant + self.kept + self.not_kept


def test_modules_come_back_whole():
    module, x = Shared(), torch.randn(2, 3)
    before = module(x)
    plain = with_plain_tensors(module)
    assert torch.equal(module(x), before)  # the module itself has not changed
    again = with_tensors(pickle.loads(pickle.dumps(plain)))
    assert torch.equal(again(x), before)
    assert again.first.weight is again.second.weight
    assert again.first.weight.requires_grad
    assert not again.first.bias.requires_grad
    assert again.state_dict().keys() == module.state_dict().keys()


Pair = namedtuple("Pair", ["one", "other"])


def test_nested_values_come_back():
    value = {0: {"step": torch.tensor(3.0), "rate": 0.1}, "pair": Pair(torch.ones(2), "text")}
    plain = with_plain_tensors(value)
    assert isinstance(plain[0]["step"], PlainTensor)
    again = with_tensors(plain)
    assert again[0] == value[0]
    assert torch.equal(again["pair"].one, value["pair"].one)
    assert again["pair"].other == "text"

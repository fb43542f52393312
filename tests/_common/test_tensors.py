from hashlib import sha256

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sktransfer._common.tensors import bytes_of, numpy_of
from tests.pretended_devices import having


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16, torch.bfloat16])
def test_tensors_become_arrays(dtype):
    found = numpy_of(torch.tensor([1, 0, 1], dtype=dtype, requires_grad=dtype.is_floating_point))
    assert isinstance(found, np.ndarray)
    assert_array_equal(found, [1, 0, 1])


def test_tensors_on_a_device(monkeypatch):
    with having(monkeypatch, "cuda:0"):
        assert_array_equal(numpy_of(torch.tensor([1, 2], device="cuda:0")), [1, 2])


@pytest.mark.parametrize("values", [None, [1, 2], np.zeros(2), "a"])
def test_anything_else_stays_as_it_is(values):
    assert numpy_of(values) is values


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).reshape(2, 3).t(),
        torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.arange(12.0).reshape(3, 4)[1:2, 2],
        torch.tensor(True),
        torch.ones(2, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}",
)
def test_bytes_are_those_of_the_values_in_order(tensor):
    found = bytes_of(tensor)
    assert (found.dtype, found.size) == (np.uint8, tensor.numel() * tensor.element_size())
    again = torch.tensor(found).view(tensor.dtype).reshape(tensor.shape)
    assert torch.equal(again, tensor)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_values_are_more_than_their_bytes():
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.quint8)
    with pytest.raises(TypeError, match="quantized"):
        bytes_of(quantized)


def test_no_values_have_no_bytes():
    assert sha256(bytes_of(torch.ones(0, 3)).data).digest() == sha256(b"").digest()

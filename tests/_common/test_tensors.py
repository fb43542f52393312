import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sktransfer._common.tensors import numpy_of
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

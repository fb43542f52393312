import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sktransfer.activations import results as module
from sktransfer.activations.results import Results
from sktransfer.images.sources import as_images


class Largest(TorchDispatchMode):
    """The most bytes that one operation allocated."""

    size = 0

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        value = function(*args, **(kwargs or {}))
        if isinstance(value, torch.Tensor) and not function.is_view:
            is_new = all(value is not argument for argument in args)
            self.size = max(self.size, value.nbytes if is_new else 0)
        return value


@pytest.mark.parametrize("copied", [1, 100, 400, 10**6])
def test_repeated_rows_are_copied_a_few_at_a_time(monkeypatch, copied):
    # Values may be mapped to a file because memory has no room for them.
    monkeypatch.setattr(module, "_COPIED", copied)
    told = []
    source = as_images(np.zeros((200, 4, 4, 3), dtype=np.uint8))
    results = Results(source, may_map=0, on_rows=told.append)
    values = torch.arange(1000.0).reshape(10, 100)  # of 400 bytes each
    results.put(range(10), values, [3])
    twins = [(row, row * 7 % 10) for row in range(10, 200)]
    with Largest() as largest:
        results.repeat(twins)
    assert largest.size <= max(copied, 1600)  # four rows, or the two columns of pairs
    values[3] = float("nan")
    expected = values[[*range(10), *(original for _, original in twins)]]
    assert torch.equal(results.values.nan_to_num(-1), expected.nan_to_num(-1))
    assert sum(told) == 200
    assert results.unreadable == [3, *(row for row, original in twins if original == 3)]


def test_no_repeated_rows():
    source = as_images(np.zeros((2, 4, 4, 3), dtype=np.uint8))
    results = Results(source, may_map=0, on_rows=lambda _: None)
    results.put(range(2), torch.ones(2, 3), [1])
    results.repeat([])
    assert results.unreadable == [1]

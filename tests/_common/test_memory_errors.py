import numpy as np
import pytest
import torch

from sktransfer._common.memory_errors import is_out_of_memory, telling_of_memory
from sktransfer.exceptions import DeviceMemoryError

# No computer has so many bytes.
TOO_MUCH = 2**62


@pytest.mark.parametrize("allocate", [np.empty, torch.empty], ids=["numpy", "torch"])
def test_what_libraries_raise_is_recognised(allocate):
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        allocate(TOO_MUCH // 8)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_other_errors_are_told_apart(error, expected):
    assert is_out_of_memory(error) is expected


def test_the_remedy_is_told():
    with (
        pytest.raises(DeviceMemoryError, match=r"No room \(too large\)\. Use less\."),
        telling_of_memory("No room ({error}). Use less."),
    ):
        raise MemoryError("too large")


def test_other_errors_pass():
    with pytest.raises(KeyError), telling_of_memory("No room."):
        raise KeyError("a key")
    with pytest.raises(RuntimeError, match="shapes"), telling_of_memory("No room."):
        raise RuntimeError("shapes")

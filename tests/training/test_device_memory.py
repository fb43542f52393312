import pytest
import torch

from sktransfer.exceptions import DeviceMemoryError
from sktransfer.training.device_memory import computing_within_memory
from tests.training.helpers import settings_of


def test_memory_that_runs_out_is_told_with_what_helps():
    settings = settings_of(device="cuda:1", batch_size=512)
    with (
        pytest.raises(DeviceMemoryError, match=r"on cuda:1 at batch_size=512\. Use a .* device="),
        computing_within_memory(settings),
    ):
        raise torch.OutOfMemoryError


def test_other_errors_stay():
    with pytest.raises(ZeroDivisionError), computing_within_memory(settings_of()):
        raise ZeroDivisionError

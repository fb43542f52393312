import numpy as np
import pytest
import torch
from torch import nn

from sktransfer.activations.engine import TorchEngine
from sktransfer.backbones.freezing import freeze


class Mean(nn.Module):
    """A row a picture: the mean of each channel, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 10.0, 100.0]))

    def forward(self, x):
        return x.float().mean((2, 3)) * self.weight


@pytest.fixture
def network():
    return freeze(Mean())


@pytest.fixture
def batch():
    return np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)


def test_channels_come_first(network, batch):
    expected = batch.mean((1, 2)) * [1, 10, 100]
    assert np.allclose(TorchEngine(network, "cpu")(batch), expected, rtol=1e-5)


def test_an_empty_network_hands_the_pixels_on(batch):
    output = TorchEngine(nn.Sequential(), "cpu")(batch)
    assert output.dtype == torch.uint8
    assert np.array_equal(output, batch.transpose(0, 3, 1, 2))


def test_pixels_are_not_copied_on_the_cpu(batch):
    output = TorchEngine(nn.Sequential(), "cpu")(batch)
    assert output.data_ptr() == batch.ctypes.data
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_no_gradient_is_recorded(batch):
    output = TorchEngine(Mean(), "cpu")(batch)
    assert not output.requires_grad
    assert output.is_inference()


def test_on_the_cpu_the_shared_network_itself_runs(network):
    assert TorchEngine(network, "cpu").network is network


@pytest.mark.parametrize(
    "device",
    [
        "meta",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ],
)
def test_on_another_device_the_shared_network_stays(network, batch, device):
    engine = TorchEngine(network, device)
    assert network.weight.device.type == "cpu"
    assert network.weight.tolist() == [1, 10, 100]
    assert engine.network.weight.device.type == device
    output = engine(batch)
    assert output.device.type == device
    assert output.shape == (4, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_devices_agree(network, batch):
    cuda, cpu = (TorchEngine(network, device)(batch).cpu() for device in ("cuda", "cpu"))
    assert torch.allclose(cuda, cpu, rtol=1e-5)


def test_pixels_are_not_changed(network, batch):
    before = batch.copy()
    TorchEngine(network, "cpu")(batch)
    assert np.array_equal(batch, before)

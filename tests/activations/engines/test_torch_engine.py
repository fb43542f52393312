import logging

import pytest
import torch
from torch import nn

from sktransfer.activations.engines import torch_engine
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.freezing import freeze
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import DeviceMemoryError
from tests.backbones.helpers import same_values, values_of

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


class Mean(nn.Module):
    """The mean of each channel, times a weight."""

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
    """Pixels in the memory layout in which they are read: channels-last."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, 5, 6, 3), dtype=torch.uint8, generator=generator)
    return pixels.permute(0, 3, 1, 2)


def test_one_output_per_picture(network, batch):
    expected = batch.float().mean((2, 3)) * torch.tensor([1.0, 10.0, 100.0])
    assert torch.allclose(TorchEngine(network, "cpu")(batch), expected, rtol=1e-5)


def test_an_empty_network_returns_the_pixels(batch):
    output = TorchEngine(FrozenNetwork(), "cpu")(batch)
    assert output.dtype == torch.uint8
    assert torch.equal(output, batch)


def test_pixels_are_not_copied_on_the_cpu(batch):
    output = TorchEngine(FrozenNetwork(), "cpu")(batch)
    assert output.data_ptr() == batch.data_ptr()
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_convolutions_get_their_fastest_memory_layout(batch):
    output = TorchEngine(nn.Sequential(nn.Identity()), "cpu")(batch.contiguous())
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(output, batch)


@pytest.mark.parametrize("shape", [(3, 7), (3, 5, 7), (3, 2, 4, 4)])
def test_activations_of_any_shape_go_in(shape):
    x = torch.randn(shape)
    assert torch.equal(TorchEngine(freeze(nn.ReLU()), "cpu")(x), x.clamp(min=0))


def test_no_gradient_is_recorded(batch):
    output = TorchEngine(Mean(), "cpu")(batch)
    assert not output.requires_grad
    assert output.is_inference()


def test_on_the_cpu_unchanged_tensors_are_shared(network):
    twin = TorchEngine(network, "cpu").network
    assert twin is not network
    assert twin.weight is network.weight


def test_a_batchnorm_is_folded_and_the_shared_network_stays(batch):
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    nn.init.uniform_(norm.running_mean)
    network = FrozenNetwork([("stem", nn.Sequential(conv, norm, nn.ReLU()))])
    before = values_of(network)
    engine = TorchEngine(network, "cpu")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in engine.network.modules())
    x = batch.float()
    assert torch.allclose(engine(x), network(x), rtol=1e-5, atol=1e-5 * network(x).abs().max())
    assert network[0][1] is norm
    assert same_values(values_of(network), before)


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=NO_GPU)])
def test_on_another_device_the_shared_network_stays(network, device):
    engine = TorchEngine(network, device)
    assert network.weight.device.type == "cpu"
    assert network.weight.tolist() == [1, 10, 100]
    assert engine.network.weight.device.type == device


@NO_GPU
def test_devices_agree(network, batch):
    cuda, cpu = (TorchEngine(network, device)(batch) for device in ("cuda", "cpu"))
    assert cuda.device.type == "cuda"
    assert torch.allclose(cuda.cpu(), cpu, rtol=1e-5)


def test_pixels_are_not_changed(network, batch):
    before = batch.clone()
    TorchEngine(network, "cpu")(batch)
    assert torch.equal(batch, before)


# Precision.


def convolutions():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten()]
    return freeze(nn.Sequential(*layers))


PRECISIONS = [
    ("cpu", "bfloat16", 2e-2),
    pytest.param("cuda", "bfloat16", 2e-2, marks=NO_GPU),
    pytest.param("cuda", "float16", 3e-3, marks=NO_GPU),
]


@pytest.mark.parametrize(("device", "precision", "tolerance"), PRECISIONS)
def test_a_lower_precision_is_close_and_gives_float32(batch, device, precision, tolerance):
    with torch.random.fork_rng():
        network = convolutions()
    x = batch.float() / 255
    exact = TorchEngine(network, "cpu")(x)
    output = TorchEngine(network, device, precision)(x)
    assert output.dtype == torch.float32
    difference = (output.cpu() - exact).abs().max() / exact.abs().max()
    assert 1e-5 < difference < tolerance
    assert all(value.dtype == torch.float32 for value in network.parameters())


def test_a_lower_precision_does_not_change_pixels(batch):
    output = TorchEngine(FrozenNetwork(), "cpu", "bfloat16")(batch)
    assert output.dtype == torch.uint8
    assert torch.equal(output, batch)


def test_autocast_ends_with_the_batch(batch):
    with torch.random.fork_rng():
        TorchEngine(convolutions(), "cpu", "bfloat16")(batch.float())
    assert not torch.is_autocast_enabled("cpu")


# Memory.


class Cramped(nn.Module):
    """Row sums, on a device that holds so many rows."""

    def __init__(self, room):
        super().__init__()
        self.room = room
        self.tried = []

    def forward(self, x):
        self.tried.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"no room for {len(x)} rows")
        return x.float().flatten(1).sum(1, keepdim=True)


@pytest.fixture
def rows():
    return torch.arange(26.0).reshape(13, 2)


@pytest.mark.parametrize(
    ("room", "tried"),
    [
        (13, [13]),
        (6, [13, 5, 5, 3]),
        (5, [13, 5, 5, 3]),
        (3, [13, 5, 2, 2, 1, 2, 2, 1, 2, 1]),
        (1, [13, 5, 2, *[1] * 13]),
    ],
)
def test_a_batch_too_large_for_the_memory_is_halved(rows, room, tried):
    engine = TorchEngine(Cramped(room), "cpu")
    assert torch.equal(engine(rows), rows.sum(1, keepdim=True))
    assert engine.network.tried == tried


def test_later_batches_begin_at_the_size_that_fitted(rows):
    engine = TorchEngine(Cramped(4), "cpu")
    engine(rows)
    engine.network.tried.clear()
    assert torch.equal(engine(rows), rows.sum(1, keepdim=True))
    assert torch.equal(engine(rows[:3]), rows[:3].sum(1, keepdim=True))
    assert engine.network.tried == [2, 2, 2, 2, 2, 2, 1, 2, 1]


def test_each_halving_is_logged_once(rows, caplog):
    with caplog.at_level(logging.DEBUG, logger="sktransfer"):
        engine = TorchEngine(Cramped(7), "cpu")
        engine(rows)
        engine(rows)
    (record,) = caplog.records
    assert record.name == "sktransfer"
    assert record.levelno == logging.WARNING
    assert "cpu ran out of memory at a batch of 13 pictures; going on with 6" in record.message


@pytest.mark.parametrize("n", [1, 2, 13])
def test_one_picture_too_large_for_the_memory_is_an_error(rows, n):
    engine = TorchEngine(Cramped(0), "cpu")
    with pytest.raises(DeviceMemoryError, match=r"cpu has too little .* one picture.*image_size"):
        engine(rows[:n])


def test_other_errors_pass_unchanged(rows):
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        TorchEngine(freeze(nn.Linear(3, 1)), "cpu")(rows)


@NO_GPU
def test_a_batch_too_large_for_a_real_device(batch):
    class Huge(nn.Module):
        def forward(self, x):
            free, _ = torch.cuda.mem_get_info()
            room = torch.empty(len(x) * free // 3, dtype=torch.uint8, device=x.device)
            return x.float().mean((2, 3)) + 0 * room[:1]

    engine = TorchEngine(Huge(), "cuda")
    assert torch.allclose(engine(batch).cpu(), batch.float().mean((2, 3)), rtol=1e-5)
    assert engine._largest_batch == 2


def test_log_lines_come_from_the_packages_logger():
    assert torch_engine.logger.name == "sktransfer"


def test_a_cpu_computes_few_pictures_at_once():
    class Counted(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x.float().mean((2, 3))

    sizes = []
    pixels = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 3, 4, 4)
    output = TorchEngine(nn.Sequential(Counted()), "cpu")(pixels)
    assert sizes == [14, 14, 12]
    assert torch.equal(output[:, 0], torch.arange(40.0))

"""The simulated devices reject the same operations as real ones, and no others."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from tests.pretended_devices import on, pretending

MIXED = "Expected all tensors to be on the same device"
INDEXED = "indices should be either on cpu or on the same device"


@pytest.fixture(params=["cuda:0", "cuda:1", "mps"])
def device(request, monkeypatch):
    """Name of a device that is simulated."""
    with pretending(monkeypatch, request.param):
        yield request.param


def test_tensors_lie_where_they_were_made_or_moved(device):
    there = torch.device(device)
    x = torch.ones(3, device=device)
    assert x.device == there
    assert (x.is_cuda, x.is_mps) == (there.type == "cuda", there.type == "mps")
    assert torch.ones(3).to(device).device == there
    assert torch.ones(3).to(x).device == there
    assert torch.ones(3).device == x.cpu().device == torch.device("cpu")
    for made in (x + 1, x[:2], x.view(3, 1), torch.zeros_like(x), x.new_ones(2), x.sum()):
        assert made.device == there
    assert x.to(device) is x
    assert x.to("meta").device.type == "meta"


def test_moving_copies(device):
    x = torch.ones(3)
    there = x.to(device)
    there += 1
    assert x.tolist() == [1, 1, 1]
    assert there.cpu().numpy().tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: torch.where(there > 0, here, there),
        lambda here, there: torch.cat([here, there]),
        lambda here, there: torch.stack([here.sum(), there.sum()]),
        lambda here, there: here.mul_(there.sum()),
        lambda here, there: here.sum().add_(there.sum()),
        lambda here, there: nn.functional.linear(here, there[None]),
        lambda here, there: nn.functional.cross_entropy(there[None], here[:1].long()),
        lambda here, there: torch.equal(here, there),
        lambda here, there: torch._foreach_add([there, there], [there, here]),
        lambda here, there: there.__setitem__(torch.arange(3), here),
    ],
)
def test_several_devices_are_refused(device, mix):
    with pytest.raises(RuntimeError, match=MIXED):
        mix(torch.ones(3), torch.ones(3, device=device))


def test_what_a_device_takes_of_the_cpu_is_taken(device):
    there = torch.arange(3.0, device=device)
    order = torch.tensor([2, 0])
    assert (there * torch.tensor(2.0)).device == there.device
    assert there[order].tolist() == [2, 0]
    there[1:] = torch.tensor([7.0, 8.0])
    there[order] = torch.tensor(5.0)
    there.copy_(torch.ones(3))
    assert there.device == torch.device(device)
    assert there.tolist() == [1, 1, 1]
    assert there.sum().item() == 3


def test_indexes_of_a_device_are_for_its_own_tensors(device):
    order = torch.tensor([2, 0], device=device)
    with pytest.raises(RuntimeError, match=INDEXED):
        torch.arange(3)[order]
    with pytest.raises(RuntimeError, match=INDEXED):
        torch.ones(3)[order > 1] = 0.0
    assert torch.arange(3, device=device)[order].tolist() == [2, 0]


def test_numpy_sees_no_device_memory(device):
    x = torch.ones(3, device=device)
    for view in (x.numpy, lambda: np.asarray(x), lambda: np.asarray(x, dtype=float)):
        with pytest.raises(TypeError, match=r"can't convert .* device type tensor to numpy"):
            view()


@pytest.mark.parametrize(
    "double",
    [
        lambda device: torch.ones(3, dtype=torch.float64, device=device),
        lambda device: torch.ones(3, device=device).double(),
        lambda device: torch.ones(3).double().to(device),
        lambda device: nn.Linear(2, 2).double().to(device),
        lambda device: torch.from_numpy(np.ones(3)).to(device),
        lambda device: torch.ones(3, device=device).to("cpu", torch.float64),
        lambda device: torch.ones(3, device=device).to(torch.ones(3).double()),
    ],
)
def test_only_mps_has_no_float64(device, double):
    if device == "mps":
        with pytest.raises(TypeError, match="MPS framework doesn't support float64"):
            double(device)
    else:
        double(device)


def test_modules_train_on_a_device_as_on_the_cpu(device):
    def train(where):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).to(where)
        twin = copy.deepcopy(net)
        optimizer = torch.optim.AdamW(net.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.ones(5, 4, device=where)).sum().backward()
            optimizer.step()
        gradients = [p.grad for p in net.parameters()]
        tensors = [*net.state_dict().values(), *twin.state_dict().values(), *gradients]
        assert {t.device for t in tensors} == {torch.device(where)}
        twin.cpu().load_state_dict(net.state_dict())
        return nn.utils.parameters_to_vector(twin.parameters())

    assert torch.equal(train(device), train("cpu"))


def test_a_module_that_stayed_behind_is_told(device):
    with pytest.raises(RuntimeError, match=MIXED):
        nn.Linear(4, 2)(torch.ones(1, 4, device=device))


@pytest.mark.usefixtures("elsewhere")
def test_files_know_the_device(monkeypatch):
    with pretending(monkeypatch, "cuda:0"):
        x = nn.Parameter(torch.ones(3, device="cuda:0"))
        pickled = pickle.dumps(x)
        saved = io.BytesIO()
        torch.save({"x": x}, saved)
        assert pickle.loads(pickled).device == x.device
        saved.seek(0)
        assert torch.load(saved)["x"].device == x.device
    with pytest.raises(RuntimeError, match=r"torch\.cuda\.is_available\(\) is False"):
        pickle.loads(pickled)
    saved.seek(0)
    assert on(torch.load(saved, map_location="cpu")["x"]) == torch.device("cpu")


def test_afterwards_the_machine_is_as_it_was(monkeypatch):
    def what_patches_change():
        registry = list(torch.serialization._package_registry)
        return (
            torch.cuda.device_count(),
            torch.backends.mps.is_available(),
            torch.autocast,
            registry,
        )

    before = what_patches_change()
    with pretending(monkeypatch, "mps"):
        x = torch.ones(3, device="mps")
        assert torch.backends.mps.is_available()
    assert what_patches_change() == before
    assert x.device == torch.device("cpu")

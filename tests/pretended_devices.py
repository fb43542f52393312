"""Simulate a GPU or a Mac: tensors report its device, and the CPU computes.

A tensor's device is stored on its storage, so views, parameters, pickles and checkpoints keep
it. Each call of a torch function is checked before it runs. If a real device would reject it,
the same error is raised. Otherwise the CPU computes the result, so whole fits run to the end,
and their results can be compared with those of the CPU.

The following is checked: operations on tensors of different devices (0-d tensors on the CPU are
allowed, as on a real device), indexing with indexes on another device, float64 on MPS, and NumPy
views of device memory. It is not checked whether a device supports an operation.
"""

import contextlib
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sktransfer._common import process_memory
from sktransfer._common.devices import available_devices

_CPU = torch.device("cpu")
_GIGABYTE = 2**30


def on(tensor):
    """Return the device that a tensor reports."""
    pretended = getattr(tensor.untyped_storage(), "pretended", None)
    return tensor.device if pretended is None else pretended


def _tensors(values):
    """Yield all tensors in values, and in nested lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _put(tensor, device):
    """Make a tensor on the CPU report another device."""
    if device.type != "cpu" and tensor.device.type == "cpu":
        if device.type == "mps":
            _check_of_mps(tensor.dtype)
        tensor.untyped_storage().pretended = device
    return tensor


def _check_of_mps(dtype):
    if dtype in (torch.float64, torch.complex128):
        raise TypeError(
            "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support "
            "float64. Please use float32 instead."
        )


class PretendedDevice(TorchFunctionMode):
    """Mode in which ``device=name`` works, and follows the rules of such a device."""

    def __init__(self, name):
        super().__init__()
        self.device = torch.device(name)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        special = _SPECIAL.get(func)
        if special is not None:
            return special(*args, **kwargs)
        asked = self._asked(kwargs.pop("device", None))
        kwargs.pop("pin_memory", None)
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        device = asked or self._common(func, args, tensors)
        if asked is not None:
            kwargs["device"] = "meta" if asked.type == "meta" else "cpu"
        given = {tensor.untyped_storage()._cdata for tensor in tensors}
        result = func(*args, **kwargs)
        if device.type != "cpu":
            for tensor in _tensors((result,)):
                # A view shares its storage with an argument, and so has its device already.
                if tensor.untyped_storage()._cdata not in given:
                    _put(tensor, device)
        return result

    def _asked(self, device):
        """Return the requested device with its index: ``cuda`` is the first GPU."""
        if device is None:
            return None
        device = torch.device(device)
        assert device.type in ("cpu", "meta", self.device.type), f"no {device} on this machine"
        return torch.device("cuda", device.index or 0) if device.type == "cuda" else device

    def _common(self, func, args, tensors):
        """Return the device of an operation; raise if its tensors are on several."""
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "__setitem__", "index_put_", "index_put"):
            return self._indexed(args)
        if name in _ACROSS_DEVICES:
            return on(tensors[0]) if tensors else _CPU
        # A 0-d tensor on the CPU may be combined with any device, except where it is copied.
        joins = name in ("cat", "stack", "hstack", "vstack", "concat")
        devices = {on(t) for t in tensors if joins or t.ndim or on(t).type != "cpu"}
        in_place = name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        if in_place and tensors:
            devices.add(on(tensors[0]))
        return self._only(devices)

    def _indexed(self, args):
        own = on(args[0])
        indexes = list(_tensors((args[1],)))
        for index in indexes:
            if index.ndim and on(index) not in (own, _CPU):
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor "
                    f"({own})"
                )
        values = args[2] if len(args) > 2 else None
        if indexes and isinstance(values, Tensor) and values.ndim:
            return self._only({own, on(values)})
        return own

    def _only(self, devices):
        if len(devices) > 1:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{' and '.join(sorted(map(str, devices)))}!"
            )
        return devices.pop() if devices else _CPU

    def moved(self, tensor, *args, device=None, dtype=None, non_blocking=False, copy=False, **how):
        """Replace `Tensor.to`: copy the tensor if the target is another device."""
        args = list(args)
        if args and isinstance(args[0], Tensor):
            other = args.pop(0)
            device, dtype = on(other), other.dtype
        elif args and not isinstance(args[0], torch.dtype):
            device = args.pop(0)
        if args and (args[0] is None or isinstance(args[0], torch.dtype)):
            dtype = args.pop(0)
        target = self._asked(device) or on(tensor)
        dtype = dtype or tensor.dtype
        if dtype != tensor.dtype and "mps" in (on(tensor).type, target.type):
            _check_of_mps(dtype)  # MPS casts a tensor before it moves it to another device
        if "meta" in (target.type, tensor.device.type):
            return tensor.to(target, dtype, **how)
        copy = copy or target != on(tensor) or any(args[1:])
        if not copy and dtype == tensor.dtype:
            return tensor.to(**how) if how else tensor
        return _put(tensor.to(dtype, copy=copy, **how), target)


# Functions that take tensors of several devices; the result is on the first one's device.
_ACROSS_DEVICES = frozenset(
    {
        *("copy_", "_foreach_copy_", "set_", "__set__", "__deepcopy__"),
        "_has_compatible_shallow_copy_type",
    }
)


_IN_PLACE = frozenset(["__iadd__", "__isub__", "__imul__", "__itruediv__"])


def _active():
    """Return the mode that called a handler."""
    # torch disables a mode while its own handler runs, so torch can't be asked for it.
    return _Machine.mode


def _no_numpy(tensor, *args, **kwargs):
    if on(tensor).type != "cpu":
        raise TypeError(
            f"can't convert {on(tensor)} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )
    return tensor.numpy(*args, **kwargs)


def _array(tensor, dtype=None):
    return np.asarray(_no_numpy(tensor), dtype)


def _of_kind(kind):
    return lambda tensor: on(tensor).type == kind


_SPECIAL = {
    Tensor.to: lambda *args, **kwargs: _active().moved(*args, **kwargs),
    Tensor.cpu: lambda tensor, **_: _active().moved(tensor, "cpu"),
    Tensor.cuda: lambda tensor, *_, **__: _active().moved(tensor, "cuda"),
    Tensor.numpy: _no_numpy,
    Tensor.__array__: _array,
    Tensor.device.__get__: on,
    Tensor.is_cuda.__get__: _of_kind("cuda"),
    Tensor.is_mps.__get__: _of_kind("mps"),
    Tensor.is_cpu.__get__: _of_kind("cpu"),
    Tensor.pin_memory: lambda tensor, *_: tensor,
    Tensor.record_stream: lambda *_: None,
}


class _Machine:
    """Replacements for the functions of torch that ask for the hardware itself."""

    mode = None

    def __init__(self, monkeypatch, mode, free_memory):
        cuda = mode.device.type == "cuda"
        stream = _Stream(device="cpu")
        event = SimpleNamespace(synchronize=_nothing, record=_nothing)
        for name, value in {
            "is_available": lambda: cuda,
            "device_count": lambda: 1 + mode.device.index if cuda else 0,
            "is_bf16_supported": lambda *_: True,
            "manual_seed_all": _nothing,
            "get_rng_state": lambda *_: torch.get_rng_state(),
            "set_rng_state": _nothing,
            "mem_get_info": lambda _: (free_memory, free_memory),
            "empty_cache": _nothing,
            "is_initialized": lambda: cuda,
            "is_current_stream_capturing": lambda: False,
            "Stream": lambda *_: stream,
            "Event": lambda *_: event,
            "current_stream": lambda *_: stream,
            "stream": lambda *_: contextlib.nullcontext(),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: not cuda)
        for name in ("manual_seed", "set_rng_state", "empty_cache"):
            monkeypatch.setattr(torch.mps, name, _nothing)
        monkeypatch.setattr(torch.mps, "get_rng_state", lambda *_: torch.get_rng_state())
        monkeypatch.setattr(torch.accelerator, "current_stream", lambda *_: stream)
        monkeypatch.setattr(torch, "autocast", _Autocast)
        registry = [(0, _location, _relocated), *torch.serialization._package_registry]
        monkeypatch.setattr(torch.serialization, "_package_registry", registry)
        # Engines that hold tensors of this device must not be found after the block.
        monkeypatch.setattr(process_memory, "_kept", OrderedDict(process_memory._kept))
        monkeypatch.setattr(_Machine, "mode", mode)


class _Stream(torch.Stream):
    """A stream without pending work: the CPU has run each operation when it returns."""

    def wait_stream(self, *_):
        pass

    def is_capturing(self):
        return False


class _Autocast(torch.autocast):
    """Autocast of the CPU, because the CPU computes."""

    def __init__(self, device_type, *args, **kwargs):
        super().__init__("cpu", *args, **kwargs)


def _nothing(*_, **__):
    return None


def _location(storage):
    """Return the location of a storage, for `torch.save`."""
    pretended = getattr(storage, "pretended", None)
    return None if pretended is None else str(pretended)


def _relocated(storage, location):
    """Put a storage on its device, for `torch.load`."""
    if _active() is None or not location.startswith(_active().device.type):
        return None  # another entry of torch's registry handles this location
    storage.pretended = torch.device(location)
    return storage


@contextlib.contextmanager
def pretending(monkeypatch, name, free_memory=64 * _GIGABYTE):
    """Simulate the device `name`, "cuda:0" or "mps", while the block runs."""
    mode = PretendedDevice(name)
    with monkeypatch.context() as patches:
        _Machine(patches, mode, free_memory)
        with mode:
            yield


@contextlib.contextmanager
def having(monkeypatch, name, free_memory=64 * _GIGABYTE):
    """Use the device `name` if this machine has it, or else simulate it like `pretending`."""
    if name not in available_devices():
        with pretending(monkeypatch, name, free_memory):
            yield
        return
    with monkeypatch.context() as patches:
        patches.setattr(torch.cuda, "mem_get_info", lambda *_: (free_memory, free_memory))
        yield

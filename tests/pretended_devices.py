"""A GPU, or a Mac, on a machine without one: tensors that say so, computed by the CPU.

A tensor's device is written on its storage, so views, parameters, pickles and checkpoints keep
it. Every call of a torch function is looked at before it runs: one that a real device would
refuse is refused in its words; any other gives the CPU's own values, so that whole fits run to
their end and can be compared with the CPU's.

What is checked: operations of tensors on several devices (numbers of no dimension are allowed,
as they are on a device), indexing by the indexes of another device, float64 on MPS, and NumPy
views of device memory. What is not: which operations a device has, and how fast it is.
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
    """The device that a tensor says it is on."""
    told = getattr(tensor.untyped_storage(), "pretended", None)
    return tensor.device if told is None else told


def _tensors(values):
    """All tensors in values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _put(tensor, device):
    """Write a device on a tensor, unless its memory is that of another one."""
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
    """While it is active, ``device=name`` works, by the rules of such a device."""

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
                if tensor.untyped_storage()._cdata not in given:  # memory of its own
                    _put(tensor, device)
        return result

    def _asked(self, device):
        """A device that is named, in full: ``cuda`` means the first one."""
        if device is None:
            return None
        device = torch.device(device)
        assert device.type in ("cpu", "meta", self.device.type), f"no {device} on this machine"
        return torch.device("cuda", device.index or 0) if device.type == "cuda" else device

    def _common(self, func, args, tensors):
        """The device of an operation, which must be one."""
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "__setitem__", "index_put_", "index_put"):
            return self._indexed(args)
        if name in _ACROSS_DEVICES:
            return on(tensors[0]) if tensors else _CPU
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
        """`Tensor.to`: a copy where the device is another one."""
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
            _check_of_mps(dtype)  # which casts before it hands a tensor on
        if "meta" in (target.type, tensor.device.type):
            return tensor.to(target, dtype, **how)
        copy = copy or target != on(tensor) or any(args[1:])
        if not copy and dtype == tensor.dtype:
            return tensor.to(**how) if how else tensor
        return _put(tensor.to(dtype, copy=copy, **how), target)


# Those that take tensors of several devices, and give what the first one's device has.
_ACROSS_DEVICES = frozenset(
    {
        *("copy_", "_foreach_copy_", "set_", "__set__", "__deepcopy__"),
        "_has_compatible_shallow_copy_type",
    }
)


_IN_PLACE = frozenset(["__iadd__", "__isub__", "__imul__", "__itruediv__"])


def _active():
    """The mode that called: a handler runs while the mode itself is set aside."""
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
    """What of torch asks for the hardware itself, put in place for a while."""

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
        # Engines that hold tensors of this device go with it.
        monkeypatch.setattr(process_memory, "_kept", OrderedDict(process_memory._kept))
        monkeypatch.setattr(_Machine, "mode", mode)


class _Stream(torch.Stream):
    """A queue of kernels that have run already."""

    def wait_stream(self, *_):
        pass

    def is_capturing(self):
        return False


class _Autocast(torch.autocast):
    """The CPU's, which computes."""

    def __init__(self, device_type, *args, **kwargs):
        super().__init__("cpu", *args, **kwargs)


def _nothing(*_, **__):
    return None


def _location(storage):
    """What `torch.save` writes down as a storage's place."""
    told = getattr(storage, "pretended", None)
    return None if told is None else str(told)


def _relocated(storage, location):
    """`torch.load` puts a storage where it was, or where `map_location` says; else the CPU."""
    if _active() is None or not location.startswith(_active().device.type):
        return None  # torch's own way, which has no such device
    storage.pretended = torch.device(location)
    return storage


@contextlib.contextmanager
def pretending(monkeypatch, name, free_memory=64 * _GIGABYTE):
    """A machine that has the device `name`, "cuda:0" or "mps", while the block runs."""
    mode = PretendedDevice(name)
    with monkeypatch.context() as patches:
        _Machine(patches, mode, free_memory)
        with mode:
            yield


@contextlib.contextmanager
def having(monkeypatch, name, free_memory=64 * _GIGABYTE):
    """As `pretending`, but with the real device where this machine has it: better evidence."""
    if name not in available_devices():
        with pretending(monkeypatch, name, free_memory):
            yield
        return
    with monkeypatch.context() as patches:
        patches.setattr(torch.cuda, "mem_get_info", lambda *_: (free_memory, free_memory))
        yield

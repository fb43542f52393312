"""Run a frozen network with OpenVINO, on CPUs."""

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sktransfer._common.left_behind import temporary_folder
from sktransfer.activations.engines.interface import (
    ConversionError,
    Engine,
    EngineKind,
    ModelCache,
)
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.frozen import FrozenNetwork

logger = logging.getLogger("sktransfer")

# Number of pictures from which OpenVINO has repaid its conversion (0.3 to 5 s, once per
# process), on two cores: `python -m benchmarks.engines` measures it for every family. Most
# repay it within 50 to 700 pictures; networks that take one or two milliseconds per picture
# need more.
_REPAID_AFTER = 400
_LIGHT_NETWORKS_REPAID_AFTER = 2500
_LIGHT_NETWORKS = (
    *("alexnet", "mnasnet0_5", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
)
# OpenVINO's names of the precisions in which it computes here.
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# Largest difference from torch in the same precision, relative to the largest value. Measured
# over all families: below 3e-6 and 0.03. (From float32, both differ by up to 0.16 in bfloat16.)
_TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1}
_TELEMETRY = "openvino_telemetry"
# The process that loaded OpenVINO, whose threads do not survive a fork: a forked child can't use
# what its parent loaded.
_loaded_by: int | None = None


class OpenVINOKind(EngineKind):
    """OpenVINO, which runs networks on CPUs, faster than torch once converted."""

    name = "openvino"
    title = "OpenVINO"
    fixed_shape = True  # it compiles a model for one picture size

    def unavailable(self, device: str, precision: str) -> str | None:
        """Refuse other devices, a missing package, and precisions that are not in hardware."""
        if device != "cpu":
            return (
                f"engine='openvino' computes on the CPU, and device is {device!r}. Use "
                "engine='torch' there, or device='cpu'."
            )
        if precision not in _HINTS:
            return (
                f"engine='openvino' computes in {' or '.join(_HINTS)}; precision={precision!r} "
                "needs engine='torch'."
            )
        if not is_installed():
            return (
                "engine='openvino' needs a package that is not installed. Install it by "
                "`pip install 'sktransfer[openvino]'`, or use engine='torch'."
            )
        if self.simulates(device, precision):
            return (
                "engine='openvino' computes in bfloat16 on processors with instructions for it, "
                "and this one has none. Use precision='float32', which is faster here."
            )
        return None

    def simulates(self, device: str, precision: str) -> bool:
        """Return True for bfloat16 on a CPU without instructions for it, if it is installed."""
        # In this order: only the last question loads the package.
        on_cpu = device == "cpu" and precision == "bfloat16"
        return on_cpu and is_installed() and not computes_bfloat16()

    def own_arithmetic(self, precision: str) -> str:
        """Return its version for bfloat16: another one may round at other places."""
        return "" if precision == "float32" else f"openvino {version('openvino')}"

    def works_in_this_process(self) -> bool:
        """Return False if it was loaded before this process was forked."""
        return _loaded_by in (None, os.getpid())

    def worth_it(self, network: FrozenNetwork, n_pictures: int) -> bool:
        """Return whether so many pictures repay the conversion."""
        light = network.backbone_name in _LIGHT_NETWORKS
        return n_pictures >= (_LIGHT_NETWORKS_REPAID_AFTER if light else _REPAID_AFTER)

    def prepare(
        self,
        network: FrozenNetwork,
        start: int,
        example: Tensor,
        *,
        device: str,
        precision: str,
        model_cache: ModelCache | None,
    ) -> Engine:
        """Make an `OpenVINOEngine`, from a model converted now or found in the cache."""
        # Two are enough to trace and to check with; more would only take longer.
        n_threads = torch.get_num_threads()
        return _prepared(network, start, example[:2], n_threads, precision, model_cache)


def is_installed() -> bool:
    """Return whether the package is installed, without loading it."""
    return "openvino" in sys.modules or importlib.util.find_spec("openvino") is not None


@cache
def computes_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16; loads the package."""
    return "BF16" in new_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _prepared(
    network: FrozenNetwork,
    start: int,
    example: Tensor,
    n_threads: int,
    precision: str,
    model_cache: ModelCache | None,
) -> Engine:
    """An engine, from a model converted now or found in the cache; checked in both cases."""
    part = network.after(start)
    # The digest covers the links before `start` too, which do not matter here.
    identity = f"openvino {version('openvino')} {start} {tuple(example.shape[1:])}".encode()
    key = sha256(identity + network.digests("")[-1]).digest()
    found = model_cache.get_model(key) if model_cache is not None else None
    if found is not None:
        try:
            return checked(OpenVINOEngine(found, n_threads, precision), part, example)
        except ConversionError as error:
            logger.warning("A stored OpenVINO model is replaced: %s.", error)
    model = convert(part, example)
    # In float32 first, where even a small fault of the conversion shows. The model is the same
    # for all precisions.
    engine = checked(OpenVINOEngine(model, n_threads, "float32"), part, example)
    if model_cache is not None:
        model_cache.put_model(key, model)
    if precision == "float32":
        return engine
    return checked(OpenVINOEngine(model, n_threads, precision), part, example)


def convert(network: nn.Module, example: Tensor) -> bytes:
    """Convert a network to an OpenVINO model, as bytes, for batches of any length.

    Raises
    ------
    ConversionError
        If OpenVINO can't convert it.
    """
    openvino = loaded_openvino()
    reading = _ReadsChannelsLast(network).eval()
    batch = _channels_last(example)
    try:
        with _logging_as_it_was(), warnings.catch_warnings(), torch.inference_mode():
            # Tracing is deprecated, but takes a third of the time of its successor. Only its own
            # warnings are filtered: filters hold for all threads, and threads that read pictures
            # at the same time must still be able to warn.
            tracer_warning = torch.jit.TracerWarning  # type: ignore[attr-defined]
            warnings.filterwarnings("ignore", category=tracer_warning)
            warnings.filterwarnings("ignore", module="torch|openvino")
            traced = torch.jit.trace(reading, batch, check_trace=False)
            model = openvino.convert_model(traced, example_input=batch)
        model.reshape({model.inputs[0]: [-1, *batch.shape[1:]]})
    except Exception as error:  # OpenVINO documents no type of its own
        raise ConversionError(f"{type(error).__name__}: {str(error)[:200]}") from error
    return _packed(openvino, model)


@contextlib.contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Undo changes to the root logger: a failed conversion leaves OpenVINO's handlers in it."""
    root = logging.getLogger()
    level, handlers, filters = root.level, [*root.handlers], [*root.filters]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:], root.filters[:] = handlers, filters


class OpenVINOEngine:
    """OpenVINO, on as many threads as torch uses.

    Parameters
    ----------
    model : bytes
        From `convert`.
    n_threads : int
    precision : {"float32", "bfloat16"}
        Of the arithmetic. The output is float32 in any case.

    Raises
    ------
    ConversionError
        If the model is damaged.
    """

    def __init__(self, model: bytes, n_threads: int, precision: str = "float32") -> None:
        self.precision = precision
        openvino = loaded_openvino()
        size = int.from_bytes(model[:8], "little")
        weights = openvino.Tensor(np.frombuffer(model[8 + size :], dtype=np.uint8))
        options = {
            # Named also for float32: some CPUs would compute in bfloat16 without it.
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": n_threads,
            "NUM_STREAMS": 1,
            # Several processes would all pin their threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            core = new_core()
            self._compiled = core.compile_model(
                core.read_model(model[8 : 8 + size], weights), "CPU", options
            )
        except RuntimeError as error:
            raise ConversionError(f"it can't be read: {str(error)[:200]}") from error
        # Measured: the weights, and less than their size again as working memory.
        self.n_bytes = 2 * len(model)
        self._request = self._compiled.create_infer_request()

    def __call__(self, batch: Tensor) -> Tensor:
        """As `TorchEngine`."""
        pixels = _channels_last(batch).numpy()
        result = self._request.infer([pixels], share_inputs=True)[0]
        return torch.from_numpy(result.copy())  # the next run writes to the same memory


def checked(engine: OpenVINOEngine, network: nn.Module, example: Tensor) -> OpenVINOEngine:
    """Return the engine if its outputs agree with torch's, in its precision, on some pictures.

    Raises
    ------
    ConversionError
        If they do not.
    """
    # Tracing can record the length or the values of its example as constants. Another length
    # and other pictures would show that.
    others = torch.cat([example.flip(0), example[:1]]).flip(-1)
    expected = TorchEngine(network, "cpu", engine.precision)(others)
    try:
        got = engine(others)
    except RuntimeError as error:
        raise ConversionError(f"it can't be run: {str(error)[:200]}") from error
    if expected.shape != got.shape:
        raise ConversionError(f"its output has shape {tuple(got.shape)}, not {expected.shape}")
    scale = expected.abs().max().item()
    largest = (expected - got).abs().max().item()
    if not largest <= _TOLERANCES[engine.precision] * scale:
        raise ConversionError(f"its output differs from torch's by {largest:.1e} of {scale:.1e}")
    return engine


class _ReadsChannelsLast(nn.Module):
    """Takes pictures of shape (n, h, w, c), as they lie in memory: no copy is needed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.network(x.permute(0, 3, 1, 2) if x.ndim == 4 else x)
        return output


def _channels_last(batch: Tensor) -> Tensor:
    return (batch.permute(0, 2, 3, 1) if batch.ndim == 4 else batch).contiguous()


def _packed(openvino: Any, model: Any) -> bytes:
    """The length of a model's structure in 8 bytes, its structure, and its weights."""
    with temporary_folder() as folder:
        path = folder / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        structure = path.read_bytes()
        weights = path.with_suffix(".bin").read_bytes()
    return len(structure).to_bytes(8, "little") + structure + weights


def loaded_openvino() -> Any:
    """Load the package without its telemetry: sktransfer opens no connection by itself."""
    global _loaded_by
    if "openvino" not in sys.modules and _TELEMETRY not in sys.modules:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # "not installed"
        try:
            openvino = importlib.import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY]
    else:
        openvino = importlib.import_module("openvino")
    _loaded_by = _loaded_by or os.getpid()
    return openvino


def new_core() -> Any:
    """A core of OpenVINO, for one model alone.

    OpenVINO gives the thread that makes a core another stack for signals, and frees this stack
    with the core. In the main thread, signals could still use the freed stack: if an older core
    goes before a newer one, or another thread lets go of a core, Ctrl-C crashed the process. So
    each core is made in a thread that ends at once.

    Each model has its own core, because a core shares weights between its models: with one core
    for all of them, converting a second model crashed.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_core_for_cpus).result()


def _core_for_cpus() -> Any:
    core = loaded_openvino().Core()
    core.get_versions("CPU")  # loads its part for CPUs
    return core

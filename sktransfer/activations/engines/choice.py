"""Who runs a frozen network: the choice, and what was prepared for it earlier."""

import logging
import os
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor

from sktransfer._common.process_memory import kept
from sktransfer._common.threads import computing
from sktransfer.activations.engines import openvino_engine
from sktransfer.activations.engines.openvino_engine import ConversionError, OpenVINOEngine, checked
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import EngineUnavailableError

logger = logging.getLogger("sktransfer")

ENGINES = ("auto", "torch", "openvino")

# From how many pictures on OpenVINO has repaid its conversion (0.3 to 5 s, once a process),
# on two cores: `python -m benchmarks.engines` measures it for every family. Most repay it
# within 50 to 700 pictures; networks that take a millisecond or two a picture need more. The
# number of pictures decides and no clock, so that the same call gives the same bits.
_REPAID_AFTER = 400
_LIGHT_NETWORKS_REPAID_AFTER = 2500
_LIGHT_NETWORKS = (
    *("alexnet", "mnasnet0_5", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
)
# Environment variables by which oneDNN, CUDA and Metal compute float32 with fewer digits.
_VARIABLES = (
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "PYTORCH_MPS_FAST_MATH"),
)
# How CUDA adds up what it multiplies in 16 bits.
_SUMS = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)


class Engine(Protocol):
    """Runs a batch of pixels or activations through a frozen network."""

    n_bytes: int
    """Memory that it takes beyond what the network does, as far as is known."""

    def __call__(self, batch: Tensor) -> Tensor:
        """Activations of shape (n, ...) for a batch of shape (n, ...)."""


class ModelShelf(Protocol):
    """Where converted models outlive the process."""

    def get_model(self, key: bytes) -> bytes | None:
        """The model kept under `key`, if there is one."""

    def put_model(self, key: bytes, model: bytes) -> None:
        """Keep a model."""


@dataclass(frozen=True)
class EngineChoice:
    """The parameters that say who computes.

    Parameters
    ----------
    engine : {"auto", "torch", "openvino"}
    device : str
        A device that exists, as `resolve_device` names it.
    precision : {"float32", "bfloat16", "float16"}
    """

    engine: str = "auto"
    device: str = "cpu"
    precision: str = "float32"

    def check(self) -> None:
        """Raise unless the three go together on this machine.

        Raises
        ------
        EngineUnavailableError
        """
        if self.precision == "float16" and not self.device.startswith("cuda"):
            raise EngineUnavailableError(
                f"precision='float16' is for CUDA devices, and device is {self.device!r}. Use "
                "'float32' or 'bfloat16'."
            )
        if self.engine != "openvino":
            return
        if self.device != "cpu":
            raise EngineUnavailableError(
                f"engine='openvino' computes on the CPU, and device is {self.device!r}. Use "
                "engine='torch' there, or device='cpu'."
            )
        if self.precision != "float32":
            raise EngineUnavailableError(
                f"engine='openvino' computes in float32; precision={self.precision!r} needs "
                "engine='torch'."
            )
        if not openvino_engine.is_installed():
            raise EngineUnavailableError(
                "engine='openvino' needs a package that is not installed. Install it by "
                "`pip install 'sktransfer[openvino]'`, or use engine='torch'."
            )

    def prefers_openvino(self, network: FrozenNetwork, n_pictures: int) -> bool:
        """Whether OpenVINO is asked for, or worth converting to for so many pictures."""
        fits = self.device == "cpu" and self.precision == "float32"
        if not len(network) or not fits or not openvino_engine.is_usable():
            return False
        if self.engine == "auto":
            light = network.backbone_name in _LIGHT_NETWORKS
            return n_pictures >= (_LIGHT_NETWORKS_REPAID_AFTER if light else _REPAID_AFTER)
        return self.engine == "openvino"

    @property
    def arithmetic(self) -> str:
        """What values depend on beyond the network, to more than rounding."""
        kind = torch.device(self.device).type
        return " ".join([kind, self.precision, *_switches(kind)])


def _switches(kind: str) -> list[str]:
    """What the process has said of the arithmetic on a kind of device, in words.

    torch tells what its old switches (`set_float32_matmul_precision`, `allow_tf32`) come to
    where its new ones are read; the other way round it raises once both were used. Switched
    down, matrix products are off by up to a hundredth.
    """
    words = {variable: os.environ[variable] for variable in _VARIABLES if variable in os.environ}
    backends: Any = torch.backends  # whose modules have properties that type checkers miss
    units = {}
    if kind == "cpu":
        units = {"matmul": backends.mkldnn.matmul, "conv": backends.mkldnn.conv}
    elif kind == "cuda":
        units = {"matmul": backends.cuda.matmul, "conv": backends.cudnn.conv}
        words |= {name: str(getattr(backends.cuda.matmul, name)) for name in _SUMS}
    for name, unit in units.items():
        if unit.fp32_precision not in ("none", "ieee"):  # which mean the same
            words[name] = unit.fp32_precision
    return [f"{name}={value}" for name, value in words.items()]


def engine_for(
    network: FrozenNetwork,
    start: int,
    example: Tensor,
    choice: EngineChoice,
    n_pictures: int,
    shelf: ModelShelf | None = None,
) -> Engine:
    """An engine for the links of `network` from number `start` on.

    Parameters
    ----------
    network : FrozenNetwork
    start : int
    example : Tensor of shape (n, ...)
        A batch of what goes in.
    choice : EngineChoice
    n_pictures : int
        How many will be asked of it.
    shelf : ModelShelf, optional
    """
    n_threads = torch.get_num_threads()
    # By a weak reference: an engine must not keep alive what nobody else needs.
    here = (os.getpid(), ref(network), start, choice.device, choice.precision, n_threads)

    def with_torch() -> Engine:
        return TorchEngine(network.after(start), choice.device, choice.precision)

    def with_openvino() -> Engine:
        few = example[:2]
        try:
            return _openvino_engine(network, start, few, n_threads, shelf)
        except ConversionError as error:
            name = network.backbone_name
            logger.warning("OpenVINO can't run %s (%s); torch runs it.", name, error)
            return with_torch()

    with computing():
        if choice.prefers_openvino(network, n_pictures):
            key = (*here, "openvino", tuple(example.shape[1:]))
            return kept(key, with_openvino, _size, owner=network)
        return kept((*here, "torch"), with_torch, _size, owner=network)


def _size(engine: Engine) -> int:
    return engine.n_bytes


def _openvino_engine(
    network: FrozenNetwork, start: int, example: Tensor, n_threads: int, shelf: ModelShelf | None
) -> Engine:
    """Converted now, or earlier and kept on the shelf."""
    part = network.after(start)
    # The digest covers what leads to the start too, which does not matter here.
    identity = f"openvino {version('openvino')} {start} {tuple(example.shape[1:])}".encode()
    key = sha256(identity + network.digests("")[-1]).digest()
    kept = shelf.get_model(key) if shelf is not None else None
    if kept is not None:
        try:
            return checked(OpenVINOEngine(kept, n_threads), part, example)
        except ConversionError as error:
            logger.warning("A stored OpenVINO model is replaced: %s.", error)
    model = openvino_engine.convert(part, example)
    engine = checked(OpenVINOEngine(model, n_threads), part, example)
    if shelf is not None:
        shelf.put_model(key, model)
    return engine

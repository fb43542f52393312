"""Run a frozen network with PyTorch, on any device."""

import copy
import logging

import torch
from torch import Tensor, nn

from sktransfer._common.process_memory import tensor_bytes
from sktransfer.activations.engines.folding import folded
from sktransfer.activations.engines.interface import Engine, EngineKind, ModelCache
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import DeviceMemoryError

logger = logging.getLogger("sktransfer")

# Pictures that a CPU computes at once: what a layer hands on should stay in its caches.
# Measured against 64 at once: 1.9 times as fast for mobilenet_v2, 1.6 for densenet121, 1.2 for
# resnet50, and not slower for any of ten families; fewer than 16 are, for the lightest.
_CPU_BATCH = 16


class TorchKind(EngineKind):
    """PyTorch, which runs every network on every device."""

    name = "torch"
    title = "torch"

    def unavailable(self, device: str, precision: str) -> str | None:
        """For float16 elsewhere than on CUDA devices."""
        if precision == "float16" and not device.startswith("cuda"):
            return (
                f"precision='float16' is for CUDA devices, and device is {device!r}. Use "
                "'float32' or 'bfloat16'."
            )
        return None

    def worth_it(self, network: FrozenNetwork, n_pictures: int) -> bool:
        """Always: there is nothing to convert."""
        return True

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
        """A `TorchEngine`, for batches of any shape."""
        return TorchEngine(network.after(start), device, precision)


class TorchEngine:
    """PyTorch in inference mode, with BatchNorm folded into the convolutions.

    Folding measured 1.1 (resnet18) to 1.6 (efficientnet_b0) times as fast on a CPU and never
    slower. A batch that does not fit the device is halved, and so are those after it.

    Parameters
    ----------
    network : Module
        Frozen, on the CPU, where it stays. An empty one hands its input on.
    device : str
        Where the computing happens.
    precision : {"float32", "bfloat16", "float16"}
        Of the arithmetic, by autocast. What comes out is float32 all the same.
    """

    def __init__(self, network: nn.Module, device: str, precision: str = "float32") -> None:
        self.device = torch.device(device)
        self.precision: torch.dtype = getattr(torch, precision)
        twin = folded(network)
        # On the CPU only what is folded is there twice.
        shared = tensor_bytes(network) if self.device.type == "cpu" else 0
        self.n_bytes = tensor_bytes(twin, *([network] if shared else [])) - shared
        self.network = twin if self.device.type == "cpu" else copy.deepcopy(twin).to(self.device)
        computes = next(network.children(), None) is not None  # else it would only copy
        self._largest_batch = _CPU_BATCH if self.device.type == "cpu" and computes else None
        on_cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if on_cuda else None

    def __call__(self, batch: Tensor) -> Tensor:
        """What the network makes of a batch.

        Parameters
        ----------
        batch : Tensor of shape (n, ...)
            On the CPU: uint8 pixels (n, 3, h, w), or float32 activations.

        Returns
        -------
        Tensor of shape (n, ...), on the engine's device
            float32; uint8 where pixels are handed on.

        Raises
        ------
        DeviceMemoryError
            If the device can't hold the work on a single picture.
        """
        size = self._largest_batch
        if size is not None and size < len(batch):
            # Equal parts: a small rest would be computed in another way, with other roundings.
            return torch.cat([self(part) for part in batch.chunk(-(-len(batch) // size))])
        try:
            return self._run(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise DeviceMemoryError(
                    f"{self.device} has too little free memory for a batch of one picture. Use a "
                    "smaller image_size or backbone, or device='cpu'."
                ) from error
        # Outside of the handler, whose traceback would keep the failed batch's memory.
        self._largest_batch = len(batch) // 2
        logger.warning(
            "%s ran out of memory at a batch of %d pictures; going on with %d. A smaller "
            "batch_size avoids the attempt.",
            *(self.device, len(batch), self._largest_batch),
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self(batch)

    def _run(self, batch: Tensor) -> Tensor:
        if batch.ndim == 4:  # the order of memory in which convolutions are fastest
            batch = batch.contiguous(memory_format=torch.channels_last)
        reduced = self.precision != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.precision, enabled=reduced),
        ):
            output: Tensor = self.network(self._on_device(batch))
        return output.float() if output.is_floating_point() else output

    def _on_device(self, batch: Tensor) -> Tensor:
        if self._copies is None:
            return batch.to(self.device)
        # From pinned memory and on a stream of its own, the copy runs beside the kernels of
        # the batch before.
        with torch.cuda.stream(self._copies):
            there = batch.pin_memory().to(self.device, non_blocking=True)
        kernels = torch.cuda.current_stream(self.device)
        kernels.wait_stream(self._copies)
        there.record_stream(kernels)
        return there


class HostCopy:
    """A tensor on its way to the CPU, copied while the device goes on.

    Parameters
    ----------
    tensor : Tensor
        On any device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._copied = None
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(tensor.device))
        else:
            self._tensor = tensor.cpu()

    def wait(self) -> Tensor:
        """The tensor on the CPU, once it is there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensor

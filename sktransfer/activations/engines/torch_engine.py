"""Run a frozen network with PyTorch, on any device."""

import copy
import logging

import torch
from torch import Tensor, nn

from sktransfer._common.memory_errors import is_out_of_memory
from sktransfer._common.process_memory import tensor_bytes
from sktransfer.activations.engines.folding import folded
from sktransfer.activations.engines.interface import Engine, EngineKind, ModelCache
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import DeviceMemoryError

logger = logging.getLogger("sktransfer")

# Pictures that a CPU computes at once: the output of a layer should stay in its caches.
# Measured against 64 at once: 1.9 times as fast for mobilenet_v2, 1.6 for densenet121, 1.2 for
# resnet50, and not slower for any of ten families. Fewer than 16 are slower for the lightest.
_CPU_BATCH = 16


class TorchKind(EngineKind):
    """PyTorch, which runs every network on every device."""

    name = "torch"
    title = "torch"

    def unavailable(self, device: str, precision: str) -> str | None:
        """Refuse float16 on other devices than CUDA's."""
        if precision == "float16" and not device.startswith("cuda"):
            return (
                f"precision='float16' is for CUDA devices, and device is {device!r}. Use "
                "'float32' or 'bfloat16'."
            )
        return None

    def worth_it(self, network: FrozenNetwork, n_pictures: int) -> bool:
        """Return True: there is nothing to convert."""
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
        """Make a `TorchEngine`, for batches of any shape."""
        return TorchEngine(network.after(start), device, precision)


class TorchEngine:
    """PyTorch in inference mode, with BatchNorm folded into the convolutions.

    Folding measured 1.1 (resnet18) to 1.6 (efficientnet_b0) times as fast on a CPU and never
    slower. A batch too large for the device's memory is halved, and so are all later ones.

    Parameters
    ----------
    network : Module
        Frozen, on the CPU, where it stays. An empty one returns its input.
    device : str
        Device that computes.
    precision : {"float32", "bfloat16", "float16"}
        Of the arithmetic, by autocast. The output is float32 in any case.
    """

    def __init__(self, network: nn.Module, device: str, precision: str = "float32") -> None:
        self.device = torch.device(device)
        self.precision: torch.dtype = getattr(torch, precision)
        twin = folded(network)
        # On the CPU, only the folded tensors are in memory twice.
        shared = tensor_bytes(network) if self.device.type == "cpu" else 0
        self.n_bytes = tensor_bytes(twin, *([network] if shared else [])) - shared
        self.network = twin if self.device.type == "cpu" else copy.deepcopy(twin).to(self.device)
        # An empty network computes nothing: to split its batches would only copy them.
        computes = next(network.children(), None) is not None
        self._largest_batch = _CPU_BATCH if self.device.type == "cpu" and computes else None
        on_cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if on_cuda else None

    def __call__(self, batch: Tensor) -> Tensor:
        """Run a batch through the network.

        Parameters
        ----------
        batch : Tensor of shape (n, ...)
            On the CPU: uint8 pixels (n, c, h, w), or float32 activations.

        Returns
        -------
        Tensor of shape (n, ...), on the engine's device
            float32; uint8 where an empty network returns its pixels.

        Raises
        ------
        DeviceMemoryError
            If the device can't hold the work on a single picture.
        """
        size = self._largest_batch
        if size is not None and size < len(batch):
            # Equal parts: libraries choose the kernel by the batch length, so that a short last
            # part would be rounded differently.
            return torch.cat([self(part) for part in batch.chunk(-(-len(batch) // size))])
        try:
            return self._run(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise DeviceMemoryError(
                    f"{self.device} has too little free memory for a batch of one picture. Use a "
                    "smaller image_size or backbone, or device='cpu'."
                ) from error
        # Outside of the except block, whose traceback would keep the failed batch in memory.
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
        if batch.ndim == 4:  # the memory layout in which convolutions are fastest
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
    """A tensor that is being copied to the CPU while its device continues to work.

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
        """Wait until the copy is complete, and return the tensor on the CPU."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensor

"""Statistics by which BatchNorm layers should normalise the pictures of another domain."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer._common.memory_errors import telling_of_memory
from sktransfer._common.threads import computing
from sktransfer.backbones.statistics import Statistics, batch_norms
from sktransfer.exceptions import WeightsError

OfLayers = Mapping[_BatchNorm, Statistics]


@dataclass(frozen=True)
class Alignment:
    """Gives a layer's outputs for the target the moments that those for the source have.

    Parameters
    ----------
    source : mapping of BatchNorm layer to Statistics
        Moments of the layers' inputs for pictures of the source. Layers that are missing are taken
        to have seen such pictures: their own statistics count.
    source_share : float
        Weight of these moments in those that are taken for the target's.
    """

    source: OfLayers
    source_share: float

    def __call__(self, layer: _BatchNorm, target: Statistics) -> Statistics:
        """Return the statistics of a layer for inputs with the moments of the target."""
        own = Statistics.of(layer)
        source = self.source.get(layer, own)
        share, eps = self.source_share, layer.eps
        mean = share * source.mean + (1 - share) * target.mean
        var = share * source.var + (1 - share) * target.var
        # With s for the source and t for the target, (x - mean) / std has the moments of
        # (x_s - own.mean) / own.std where std = own.std * std_t / std_s. Without other source
        # moments than the layer's own, mean and var stay.
        ratio = ((var + eps) / (source.var + eps)).sqrt()
        mean = mean - ratio * (source.mean - own.mean)
        var = ratio.square() * (own.var + eps) - eps
        return Statistics(mean.float(), var.float())


def source_moments(
    network: nn.Module, batches: Iterable[Tensor], device: str
) -> dict[_BatchNorm, Statistics]:
    """Moments of the inputs of each BatchNorm layer, in the network as it is.

    They do not depend on how pictures are put into batches. Parameters and errors are those of
    `adapted_statistics`.
    """
    return _measured(network, batches, device, lambda *_: None)


def adapted_statistics(
    network: nn.Module, batches: Iterable[Tensor], alignment: Alignment, device: str
) -> dict[_BatchNorm, Statistics]:
    """Statistics by which each BatchNorm layer should normalise the pictures in `batches`.

    Within a batch, each layer normalises by what `alignment` makes of the batch's own moments, as
    in training: so the next layer is measured on inputs that are adapted. The moments of all
    batches are pooled, with the variance between batches, so their order does not matter.

    One batch of all pictures would be exact, and so would one pass per layer; the first takes
    memory without bound, and the second as many passes as there are layers. Batches of 64 gave 97 %
    of 300 pictures the label of one batch (``python -m benchmarks.domain_shift batches``). Further
    passes over all layers at once diverge: each layer is corrected for inputs that change with it.

    Parameters
    ----------
    network : Module
        Left as it is.
    batches : iterable of Tensor
        Inputs of the network.
    alignment : Alignment
    device : str
        That computes, in float32.

    Returns
    -------
    statistics : dict of BatchNorm layer to Statistics
        The layers are those of `network`, without those that no batch has reached.

    Raises
    ------
    WeightsError
        If they are NaN or infinite.
    DeviceMemoryError
        If the device can't hold the work on a batch.
    """
    found = _measured(network, batches, device, alignment)
    return {layer: alignment(layer, target) for layer, target in found.items()}


def _measured(
    network: nn.Module,
    batches: Iterable[Tensor],
    device: str,
    normalise_by: Callable[[_BatchNorm, Statistics], Statistics | None],
) -> dict[_BatchNorm, Statistics]:
    """Pooled moments of the inputs of each layer, which normalises each batch as it is told."""
    twin = copy.deepcopy(network).to(device).eval()
    pooled = {layer: _Pooled() for layer in batch_norms(network).values()}
    for (layer, moments), copied in zip(pooled.items(), batch_norms(twin).values(), strict=True):

        def before(
            copied: Any,
            inputs: tuple[Tensor, ...],
            layer: _BatchNorm = layer,
            moments: _Pooled = moments,
        ) -> None:
            found = moments.add(inputs[0])
            statistics = normalise_by(layer, found)
            if statistics is not None:
                statistics.put_into(copied)

        # The layer itself runs in evaluation mode, so one that does more than normalise does it.
        copied.register_forward_pre_hook(before)
    for batch in batches:
        remedy = (
            f"{device} has too little free memory for a batch of {len(batch)} pictures. Use a "
            "smaller batch_size."
        )
        with telling_of_memory(remedy), computing(), torch.inference_mode():
            twin(batch.to(device))
    found = {layer: moments.statistics() for layer, moments in pooled.items() if moments.count}
    if not all(values.isfinite().all() for each in found.values() for values in each):
        raise WeightsError(
            "The inputs of BatchNorm layers are NaN or infinite. The weights are damaged, or do "
            "not fit this preprocessing: choose other weights=."
        )
    return found


class _Pooled:
    """Mean and variance of all values of each channel, over batches."""

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, x: Tensor) -> Statistics:
        """Add a batch (n, n_channels, ...), and return its moments, on the CPU.

        Source: Chan, Golub & LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
        Sample Variances", 1979.
        """
        var, mean = torch.var_mean(x, [d for d in range(x.ndim) if d != 1], correction=0)
        # MPS has no float64, which keeps the digits over millions of values.
        batch = Statistics(mean.cpu().double(), var.cpu().double())
        count = x.numel() // x.shape[1]
        total = self.count + count
        step = batch.mean - self._mean
        self._squares = (
            self._squares + batch.var * count + step.square() * (self.count * count / total)
        )
        self._mean = self._mean + step * (count / total)
        self.count = total
        return batch

    def statistics(self) -> Statistics:
        """The moments of all batches."""
        return Statistics(self._mean, self._squares / self.count)

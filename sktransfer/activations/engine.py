"""Run a frozen network on one device."""

import copy

import numpy as np
import torch
from torch import Tensor, nn


class TorchEngine:
    """PyTorch in inference mode.

    Parameters
    ----------
    network : Module
        Frozen; from uint8 pixels (n, 3, h, w) to activations. An empty ``Sequential``
        hands the pixels on.
    device : str
        Where it runs. The network given stays where it is.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        self.device = torch.device(device)
        # The stages are shared by the whole process and live on the CPU.
        on_cpu = self.device.type == "cpu"
        self.network = network if on_cpu else copy.deepcopy(network).to(self.device)

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """Activations of a batch.

        Parameters
        ----------
        pixels : ndarray of shape (n, h, w, 3), uint8

        Returns
        -------
        Tensor of shape (n, ...), float32, on the engine's device
            uint8 pixels of shape (n, 3, h, w) if the network is empty.
        """
        # A view: channels-last in memory is how the pictures are stored anyway.
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        with torch.inference_mode():
            output: Tensor = self.network(batch.to(self.device))
        return output

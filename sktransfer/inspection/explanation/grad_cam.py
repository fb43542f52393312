"""Grad-CAM, by the library pytorch-grad-cam."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from sktransfer._common.threads import computing
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.explanation.parted_network import PartedNetwork, chunks

# Pictures whose gradients are computed at once.
_AT_ONCE = 32
NOT_INSTALLED = (
    "Grad-CAM needs the package grad-cam, which is not installed. Use: "
    'pip install "sktransfer[explain]".'
)


def is_installed() -> bool:
    """Return True if the library is there."""
    return find_spec("pytorch_grad_cam") is not None


def gradient_maps(parted: PartedNetwork, images: ImageSource, codes: np.ndarray) -> np.ndarray:
    """The last map, its channels weighted by the mean gradient of the score of a class.

    Only what follows the map needs gradients; the stages before it run as in prediction.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", ICCV 2017, eq. 1 and 2 (without the ReLU, which comes later).

    Parameters
    ----------
    parted : PartedNetwork
    images : ImageSource
    codes : ndarray of shape (n,)
        The class of each map.

    Returns
    -------
    maps : ndarray of shape (n, h, w), float32

    Raises
    ------
    ParameterError
        If the library is not installed.
    """
    if not is_installed():
        raise ParameterError(f"{NOT_INSTALLED} Or use method='occlusion'.")
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = _FromMap(parted)
    maps = []
    with GradCAM(model, [model.at_map], reshape_transform=parted.as_map) as cam:
        for rows in chunks(len(images), _AT_ONCE):
            maps_of_rows = parted.collect(images.taken(rows), further=len(images) - len(rows))
            inputs = maps_of_rows.to(parted.device).requires_grad_()
            targets = [ClassifierOutputTarget(int(code)) for code in codes[rows]]
            with computing(), torch.enable_grad():
                scores = cam.activations_and_grads(inputs)
                total = sum(target(each) for target, each in zip(targets, scores, strict=True))
                # Not to the weights: those that were trained would be left with gradients.
                torch.autograd.backward(total, inputs=[inputs])
            seen = cam.activations_and_grads
            maps.append(
                cam.get_cam_image(
                    *(inputs, model.at_map, targets),
                    seen.activations[0].numpy(),
                    seen.gradients[0].numpy(),
                )
            )
    return np.concatenate(maps).astype(np.float32)


class _FromMap(nn.Module):
    """From the map to the scores, with a layer at the map for the library to watch."""

    def __init__(self, parted: PartedNetwork) -> None:
        super().__init__()
        self.at_map = nn.Identity()
        self.to_scores = parted.to_scores  # the library asks for the device of parameters
        self._parted = parted

    def forward(self, x: Tensor) -> Tensor:
        # A copy: layers may change it in place, and the library looks at it later.
        return self._parted.scores(self.at_map(x).clone())

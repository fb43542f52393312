"""Class activation maps: the last map, weighted by the weights of a linear head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.explanation.parted_network import PartedNetwork, chunks

# Pictures whose maps are computed for all of their targets at once.
_AT_ONCE = 256


def why_not(parted: PartedNetwork) -> str:
    """A sentence that says why there is no closed form; "" where there is one."""
    if parted.linear is None:
        return "A class activation map needs a linear head, and this one has hidden layers."
    if not parted.features_are_means:
        return (
            "A class activation map needs features that are means over the positions of the last "
            "map, and this network makes them in another way."
        )
    return ""


def class_activation_maps(
    parted: PartedNetwork, images: ImageSource, codes: np.ndarray
) -> np.ndarray:
    """What each position of the last map adds to the score of a class.

    The score is the mean of the map plus a constant.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016,
    eq. 2.

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
        If there is no closed form.
    """
    if why_not(parted):
        raise ParameterError(f"{why_not(parted)} Use method='gradcam' or method='occlusion'.")
    assert parted.linear is not None
    weights, maps = parted.linear.weight, []
    for rows in chunks(len(images), _AT_ONCE):
        wanted, places = np.unique(codes[rows], return_inverse=True)
        some = weights[torch.from_numpy(wanted).to(weights.device)]

        def weighted(x: Tensor, some: Tensor = some) -> Tensor:
            return torch.einsum("nchw,kc->nkhw", parted.as_map(x), some)

        others = len(images) - len(rows)
        of_wanted = parted.collect(images.taken(rows), weighted, further=others).numpy()
        maps.append(of_wanted[np.arange(len(rows)), places])
    return np.concatenate(maps)

"""Networks of RGB pictures for pictures of other channels, such as bands of a satellite."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sktransfer.exceptions import BackboneError

_RGB = 3


def adapted_weight(weight: Tensor, channels: int) -> Tensor:
    """The weight of a convolution of RGB pictures, for pictures of other channels.

    The weights of red, green and blue are repeated in turn and multiplied by ``3 / channels``, so
    that the sum over channels keeps its scale; a single channel gets the sum of the three. With
    the same mean and standard deviation for all channels, grey pictures then have the outputs of
    their RGB copies.

    Source: ``adapt_input_conv`` of timm 1.0.31, ``timm/models/_manipulate.py``.

    Parameters
    ----------
    weight : Tensor of shape (n_filters, 3, height, width)
    channels : int
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight.repeat(1, -(-channels // _RGB), 1, 1)
    return repeated[:, :channels] * (_RGB / channels)


def adapt_input(name: str, network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Change the convolutions that read a picture, in place, for pictures of other channels.

    Parameters
    ----------
    name : str
        The backbone, for messages.
    network : Module
        Of RGB pictures, in evaluation mode.
    shape : tuple of int
        Shape (c, height, width) of the pictures that it will get.

    Raises
    ------
    BackboneError
        If no convolution reads the picture, or the network needs RGB in another place too.
    """
    channels, *_ = shape
    adapted = []

    # Which layers read the picture is known when they are called: the first one among the modules
    # may be another, and some networks have two.
    def adapt(module: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        if module.in_channels == _RGB and given[0].shape[-3] == channels:
            module.weight = nn.Parameter(adapted_weight(module.weight, channels))
            module.in_channels = channels
            adapted.append(module)

    readers = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and (module.in_channels, module.groups) == (_RGB, 1)
    ]
    hooks = [reader.register_forward_pre_hook(adapt) for reader in readers]
    try:
        # Not in inference mode, whose tensors can never train.
        with torch.no_grad():
            functional_call(network, _in_place_of_missing(network), torch.zeros(1, *shape))
    # Networks are code of others, which can fail in any way.
    except Exception as error:
        raise BackboneError(
            f"{name} can't take pictures with in_channels={channels}: {type(error).__name__}: "
            f"{str(error)[:300]}. Use in_channels=3, or another backbone."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not adapted:
        raise BackboneError(
            f"{name} can't take pictures with in_channels={channels}: it has no convolution that "
            "takes the three channels of a picture. Use in_channels=3, or another backbone."
        )


def _in_place_of_missing(network: nn.Module) -> dict[str, Tensor]:
    """Zeros for tensors without values: weights files may lack the classifier."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: torch.zeros(each.shape) for name, each in tensors if each.is_meta}

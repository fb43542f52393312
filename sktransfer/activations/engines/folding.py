"""Merge each BatchNorm into the convolution before it, which halves the passes over memory."""

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sktransfer.backbones.piece import Piece
from sktransfer.backbones.sources.lite import SamePadConv2d

Network = TypeVar("Network", bound=nn.Module)

_CONVOLUTIONS = (nn.Conv2d, SamePadConv2d)


def folded(network: Network) -> Network:
    """A copy of a frozen network that computes the same with fewer operations.

    A convolution and a BatchNorm are merged where they are neighbours among the children of
    their parent module. In every torchvision network, such neighbours follow each other in the
    forward pass too; the tests compare the outputs of all of them, and of networks of timm.
    Tensors that do not change are shared with the original.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    """
    # deepcopy takes these for copied already: only merged weights take memory of their own.
    tensors = {id(t): t for t in (*network.parameters(), *network.buffers())}
    twin: Network = copy.deepcopy(network, tensors)
    for parent in list(twin.modules()):
        _fold_children(parent)
    return twin.requires_grad_(False)


def _fold_children(parent: nn.Module) -> None:
    # Pieces of a graph, and networks of the user's own: there, neighbours may be called in another
    # order, or with something between them.
    if isinstance(parent, Piece) or getattr(parent, "calls_in_any_order", False):
        return
    children = list(parent.named_children())
    for (name, module), (next_name, following) in pairwise(children):
        # Not of other classes that inherit from these: they may compute more.
        if type(module) in _CONVOLUTIONS and type(following) is nn.BatchNorm2d:
            assert isinstance(module, nn.Conv2d)
            setattr(parent, name, fuse_conv_bn_eval(module, following))
            # Not deleted: some parents address their children by name or number.
            setattr(parent, next_name, nn.Identity())

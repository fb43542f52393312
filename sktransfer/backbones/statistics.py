"""The BatchNorm statistics of a backbone, which another domain may need others of."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer.backbones.backbone import Backbone


class Statistics(NamedTuple):
    """What a BatchNorm layer normalises by.

    Parameters
    ----------
    mean, var : Tensor of shape (n_channels,)
    """

    mean: Tensor
    var: Tensor

    @classmethod
    def of(cls, layer: _BatchNorm) -> "Statistics":
        """Those of a layer, in float64 on the CPU."""
        assert layer.running_mean is not None
        assert layer.running_var is not None
        return cls(*(t.detach().cpu().double() for t in (layer.running_mean, layer.running_var)))

    def put_into(self, layer: _BatchNorm) -> None:
        """Overwrite the statistics of a layer, on its own device."""
        assert layer.running_mean is not None
        assert layer.running_var is not None
        with torch.no_grad():
            layer.running_mean.copy_(self.mean)
            layer.running_var.copy_(self.var)


def batch_norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorm layers in a module that keep statistics, by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    }


def batch_norms_of(backbone: Backbone) -> dict[str, _BatchNorm]:
    """The same of a backbone; names begin with that of the stage."""
    return batch_norms(nn.ModuleDict({stage.name: stage.module for stage in backbone.stages}))


def with_statistics(backbone: Backbone, statistics: Mapping[str, Statistics]) -> Backbone:
    """A backbone with other BatchNorm statistics, and with a digest of its own.

    Parameters
    ----------
    backbone : Backbone
        Left as it is. All tensors but the statistics are shared with it.
    statistics : mapping of str to Statistics
        By the names of `batch_norms_of`. Layers that are not named keep theirs.
    """
    layers = batch_norms_of(backbone).values()
    own = {id(t) for layer in layers for t in (layer.running_mean, layer.running_var)}
    parts = [*(stage.module for stage in backbone.stages), backbone.pieces.classifier]
    tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    # deepcopy takes these for copied already.
    shared = {id(tensor): tensor for tensor in tensors if id(tensor) not in own}
    twin = replace(backbone, pieces=copy.deepcopy(backbone.pieces, shared))
    copied = batch_norms_of(twin)
    for name, values in statistics.items():
        values.put_into(copied[name])
    return twin

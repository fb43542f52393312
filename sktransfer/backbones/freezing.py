"""Frozen modules have no gradient, no moving statistics and no dropout."""

import copy
from collections.abc import Iterable, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(module: nn.Module) -> nn.Module:
    """Freeze a module in place."""
    return module.requires_grad_(False).eval()


class TrainableStages(nn.Sequential):
    """Copies of stages that train, with BatchNorm statistics held fixed.

    skorch calls ``train(True)`` on every batch, so the module itself must keep its
    statistics: ten epochs of moving them shift a MobileNetV2's features by a fifth,
    and small batches make them noise.

    Parameters
    ----------
    stages : iterable of (str, Module)
        Copied, so that the shared originals stay as they are.
    fixed_statistics : bool
        False lets BatchNorm statistics move: random weights have none worth keeping.
    pretrained : bool
        False for random weights.
    depths : mapping of str to int, optional
        The smallest ``unfreeze_depth`` that trains each stage.
    """

    def __init__(
        self,
        stages: Iterable[tuple[str, nn.Module]] = (),
        *,
        fixed_statistics: bool = True,
        pretrained: bool = True,
        depths: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        # Copied together: stages may share parameters, which then train as one.
        for name, module in copy.deepcopy([*stages]):
            self.add_module(name, module.requires_grad_(True))
        self.fixed_statistics = fixed_statistics
        self.pretrained = pretrained
        self.depths = dict(depths or {})

    def train(self, mode: bool = True) -> "TrainableStages":
        super().train(mode)
        # Stages that gradual unfreezing has not reached keep their statistics as well: they would
        # otherwise change before they train.
        if mode:
            for module in self.modules():
                if isinstance(module, _BatchNorm) and (self.fixed_statistics or _waits(module)):
                    module.eval()
        return self


def _waits(module: nn.Module) -> bool:
    """True for a module whose parameters do not train yet, as in gradual unfreezing."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)

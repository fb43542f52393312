"""A fitted estimator as one module, from uint8 pictures to all that it gives."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer.estimators.fitted import FittedFeatures, FittedModel
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.persistence.graphs.resizing import Square
from sktransfer.training.task import Task

INPUTS = ("pictures", "prepared")

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Network:
    """A module to be recorded, with the names of what comes in and goes out.

    Parameters
    ----------
    module : Module
        Takes uint8 (n, h, w, c), gives a tuple of tensors with n rows. It is a copy that shares
        its tensors with the estimator.
    given : {"pictures", "prepared"}
        Pictures of any one size, or squares that are resized already.
    outputs : tuple of str
    preprocessing : Preprocessing
    """

    module: nn.Module
    given: str
    outputs: tuple[str, ...]
    preprocessing: Preprocessing


def network_of(fitted: FittedFeatures | FittedModel, given: str) -> Network:
    """The network of a fitted estimator, on the CPU and in float32."""
    preset = fitted.backbone.preprocessing
    parts: list[nn.Module] = [Square(preset)] if given == "pictures" else []
    if isinstance(fitted, FittedFeatures):
        parts += [_ToChannelsFirst(), twin(fitted.network()), _AsTuple()]
        outputs: tuple[str, ...] = ("features",)
    else:
        stages_and_head = twin(fitted.net.module_)
        decision = _Decision(fitted.task, fitted.temperature)
        parts += [_ToChannelsFirst(), twin(fitted.frozen_network()), stages_and_head, decision]
        outputs = ("probabilities", "label")
    return Network(nn.Sequential(*parts).eval(), given, outputs, preset)


def twin(network: Module) -> Module:
    """A copy in evaluation mode; on a CPU it shares its tensors with the original."""
    # deepcopy takes these for copied already.
    tensors = {id(t): t.detach().cpu() for t in chain(network.parameters(), network.buffers())}
    for parameter in network.parameters():
        tensors[id(parameter)] = nn.Parameter(tensors[id(parameter)], requires_grad=False)
    twin: Module = copy.deepcopy(network, dict(tensors))
    twin.eval()
    return twin


class _ToChannelsFirst(nn.Module):
    """Pixels (n, h, w, c) as (n, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class _AsTuple(nn.Module):
    """A single output, as networks of several give them."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.float(),)


class _Decision(nn.Module):
    """From scores (n, k) to probabilities (n, k), float32, and labels as `predict` decides.

    Labels are positions in ``classes_``, (n,), or an indicator (n, k); int64.
    """

    def __init__(self, task: Task, temperature: float) -> None:
        super().__init__()
        self.task, self.temperature = task, temperature

    def forward(self, scores: Tensor) -> Sequence[Tensor]:
        # From scores, not from probabilities, which may round to the same number.
        scores = scores.float() / self.temperature
        if self.task.multilabel:
            return torch.sigmoid(scores), (scores > 0).long()
        logits = functional.logsigmoid(scores) if self.task.one_vs_rest else scores
        return logits.softmax(dim=1), scores.argmax(dim=1)

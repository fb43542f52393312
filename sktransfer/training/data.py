"""The data of a training, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import nn

from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.net import TransferNet

# One record per epoch: its phase, number, losses, rate and scores.
History = list[dict[str, Any]]


@dataclass(frozen=True)
class TrainingData:
    """The stages to train, the rows to train on, and a head to continue from.

    Parameters
    ----------
    stages : TrainableStages
        The unfrozen stages, which are trained in place; empty if all are frozen. Where training
        continues, they hold the values that the earlier one ended with.
    rows : Rows
        Activations of the frozen stages, with targets.
    validation : Rows, optional
        Rows that are scored after each epoch, and never trained on.
    earlier_head : Sequential, optional
        The head of an earlier training, to continue from. It is trained in place too.
    """

    stages: TrainableStages
    rows: Rows
    validation: Rows | None = None
    earlier_head: nn.Sequential | None = None

    def on(self, device: str) -> "TrainingData":
        """The same with the rows on a device, if they fit; see `Rows.on`."""
        return replace(self, rows=self.rows.on(device))


class Trained(NamedTuple):
    """The result of a training.

    Parameters
    ----------
    net : TransferNet
        Ready for prediction.
    history : list of dict
        One record per epoch, over all phases.
    optimizer_state : mapping or None
        By the number of each parameter; None where L-BFGS solved the problem, whose state means
        nothing to another piece.
    """

    net: TransferNet
    history: History
    optimizer_state: Mapping[int, Any] | None

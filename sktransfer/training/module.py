"""The module that trains: the unfrozen stages with the head on top."""

from typing import Any

from torch import Tensor, nn

from sktransfer.backbones.freezing import TrainableStages


class TransferModule(nn.Module):
    """From the activations of the frozen stages to one score per class.

    Parameters
    ----------
    stages : TrainableStages
        Empty if the whole backbone is frozen.
    head : Sequential
        See `build_head`.
    """

    head: nn.Sequential

    def __init__(self, stages: TrainableStages, head: nn.Sequential) -> None:
        super().__init__()
        self.stages = stages
        self.head = head

    def forward(self, X: Tensor, *, with_features: bool = False) -> Any:
        """Scores (n, k); with `with_features` also the features that they are of, flat."""
        features = self.stages(X)
        scores = self.head(features)
        return (scores, features.flatten(1)) if with_features else scores

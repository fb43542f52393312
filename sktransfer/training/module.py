"""The module that trains: the unfrozen stages with the head on top."""

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

    def forward(self, X: Tensor) -> Tensor:
        scores: Tensor = self.head(self.stages(X))
        return scores

"""Reduce a stage's output to one feature vector per picture."""

from torch import Tensor, nn

POOLINGS = ("native", "avg", "max", "flatten")


class Pool(nn.Module):
    """Map (n, c, h, w) or tokens (n, length, c) to features (n, k).

    Parameters
    ----------
    how : {"avg", "max", "flatten"}
        Mean or maximum over positions, or all values in the order c, h, w. Of tokens,
        mean and maximum leave out the class token, which belongs to no position.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2 or self.how == "flatten":
            return x.flatten(1)
        positions = x.flatten(2) if x.ndim == 4 else x[:, 1:].transpose(1, 2)
        return positions.mean(2) if self.how == "avg" else positions.amax(2)

    def extra_repr(self) -> str:
        return repr(self.how)

"""Turn a stage's output into one row a picture."""

from torch import Tensor, nn

POOLINGS = ("native", "avg", "max", "flatten")


class Pool(nn.Module):
    """Map (n, c, h, w) or tokens (n, length, c) -> rows (n, features).

    Parameters
    ----------
    how : {"avg", "max", "flatten"}
        Mean or maximum over places, or all values in the order c, h, w. A mean or
        maximum of tokens leaves out the class token, which is no place.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2 or self.how == "flatten":
            return x.flatten(1)
        places = x.flatten(2) if x.ndim == 4 else x[:, 1:].transpose(1, 2)
        return places.mean(2) if self.how == "avg" else places.amax(2)

    def extra_repr(self) -> str:
        return repr(self.how)

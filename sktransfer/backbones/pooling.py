"""Reduce a stage's output to one feature vector per picture."""

import math

import torch
from torch import Tensor, nn

from sktransfer.exceptions import BackboneError

POOLINGS = ("native", "avg", "max", "flatten", "cls", "cls+avg")
# Those that need a class token.
OF_CLASS_TOKEN = ("cls", "cls+avg")


class Pool(nn.Module):
    """Map (n, c, h, w) or tokens (n, length, c) to features (n, k).

    Parameters
    ----------
    how : {"avg", "max", "flatten", "cls", "cls+avg"}
        Mean or maximum over positions, all values in the order c, h, w, the class token, or the
        class token and then the mean. Tokens of the whole picture (the class token, registers)
        belong to no position.
    n_prefix : int or None
        Number of such tokens; None where only the length tells.
    """

    def __init__(self, how: str, n_prefix: int | None = None) -> None:
        super().__init__()
        self.how, self.n_prefix = how, n_prefix

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2 or self.how == "flatten":
            return x.flatten(1)
        if x.ndim == 4:
            return self._reduced(x.flatten(2))
        n_others = self.n_before_positions(int(x.shape[1]))
        positions = x[:, n_others:].transpose(1, 2)
        if self.how not in OF_CLASS_TOKEN:
            return self._reduced(positions)
        if n_others == 0:
            raise BackboneError(f"pooling={self.how!r} needs a class token; use pooling='avg'.")
        return x[:, 0] if self.how == "cls" else torch.cat([x[:, 0], positions.mean(2)], dim=1)

    def n_before_positions(self, length: int) -> int:
        """Number of tokens that belong to no position, of `length` in all."""
        # Pictures are squares, so positions are a square number. Some networks add their class
        # token late: before that, there are as many tokens as positions.
        if self.n_prefix is not None and _is_square(length - self.n_prefix):
            return self.n_prefix
        return length - math.isqrt(length) ** 2

    def _reduced(self, positions: Tensor) -> Tensor:
        return positions.amax(2) if self.how == "max" else positions.mean(2)

    def extra_repr(self) -> str:
        return repr(self.how)


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number

"""Which rows an epoch trains on, where classes are unequally frequent."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

SAMPLINGS = ("oversample", "undersample", "balanced")


@dataclass(frozen=True)
class Sampler:
    """Draws the rows of an epoch, in the order in which they are trained on.

    Parameters
    ----------
    sampling : {"oversample", "undersample", "balanced"} or None
        "oversample" takes every row and repeats those of the rarer classes, each as often
        as the others but for one, until all classes have as many as the largest.
        "undersample" takes as many rows of each class, without repeating one, as the
        smallest has. "balanced" draws as many rows as there are, with replacement, every
        class being as likely. None takes every row once.
    codes : Tensor of shape (n,), int64
        Class of each row.
    weights : Tensor of shape (n,)
        Rows of weight 0 are never drawn by a `sampling`: they count as absent.
    """

    sampling: str | None
    codes: Tensor
    weights: Tensor

    def __call__(self, generator: Generator) -> Tensor:
        """Numbers of rows, int64."""
        if self.sampling is None:
            return torch.randperm(len(self.codes), generator=generator)
        present = torch.nonzero(self.weights.cpu() > 0).flatten()
        codes = self.codes.cpu()[present]
        if self.sampling == "balanced":
            chances = 1 / torch.bincount(codes).double()[codes]
            drawn = torch.multinomial(chances, len(codes), replacement=True, generator=generator)
            return present[drawn]
        classes = [present[codes == code] for code in codes.unique()]
        sizes = [len(rows) for rows in classes]
        size = max(sizes) if self.sampling == "oversample" else min(sizes)
        drawn = torch.cat([_repeated(rows, size, generator) for rows in classes])
        return drawn[torch.randperm(len(drawn), generator=generator)]


def _repeated(rows: Tensor, size: int, generator: Generator) -> Tensor:
    """`size` of the rows, none more than once oftener than another."""
    times = -(-size // len(rows))
    order = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(times)]
    return torch.cat(order)[:size]

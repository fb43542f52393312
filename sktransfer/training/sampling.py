"""Sampling of the rows of each epoch, where classes are unequally frequent."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

SAMPLINGS = ("oversample", "undersample", "balanced")


@dataclass(frozen=True)
class Sampler:
    """Draw the rows of an epoch, in the order of training.

    Parameters
    ----------
    sampling : {"oversample", "undersample", "balanced"} or None
        "oversample" takes every row and repeats those of rarer classes until each class has as
        many as the largest; no row of a class is repeated twice more often than another.
        "undersample" takes as many different rows of each class as the smallest class has.
        "balanced" draws, with replacement, as many rows as there are, with equal chances for all
        classes. None takes every row once.
    codes : Tensor of shape (n,), int64
        Class of each row.
    """

    sampling: str | None
    codes: Tensor

    def __call__(self, generator: Generator) -> Tensor:
        """Positions of the drawn rows, int64."""
        if self.sampling is None:
            return torch.randperm(len(self.codes), generator=generator)
        # On the CPU, so that a seed draws the same rows on every device.
        codes = self.codes.cpu()
        if self.sampling == "balanced":
            chances = self.times().double()
            return torch.multinomial(chances, len(codes), replacement=True, generator=generator)
        classes = [torch.nonzero(codes == code).flatten() for code in codes.unique()]
        size = round(self._size_of_each_class())
        drawn = torch.cat([_repeated(rows, size, generator) for rows in classes])
        return drawn[torch.randperm(len(drawn), generator=generator)]

    def times(self) -> Tensor:
        """How often an epoch draws each row on average (n,), float32, on the CPU.

        L-BFGS, which has no epochs, weights the rows by it instead of sampling.
        """
        if self.sampling is None:
            return torch.ones(len(self.codes))
        codes = self.codes.cpu()
        return self._size_of_each_class() / torch.bincount(codes)[codes]

    def _size_of_each_class(self) -> float:
        counts = torch.bincount(self.codes.cpu())
        # A split, or a piece, may lack a class, which must not make the smallest class empty.
        present = counts[counts > 0]
        sizes = {"oversample": present.max(), "undersample": present.min()}
        return float(sizes.get(str(self.sampling), present.double().mean()))


def _repeated(rows: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw `size` rows, repeating all of them equally often, up to one time."""
    times = -(-size // len(rows))
    order = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(times)]
    return torch.cat(order)[:size]

"""The activations of each epoch: always the same, a few sets in turn, or a new set each time."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from torch import Tensor


class FixedViews:
    """Sets of activations that are computed before training and used in turn, one per epoch.

    Parameters
    ----------
    tensors : sequence of Tensor of shape (m, ...)
        One set without augmentation; else one for each augmented view of the pictures.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self.n_known = len(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __call__(self, epoch: int) -> Tensor:
        """The activations of an epoch, counted from 0."""
        return self.tensors[epoch % len(self.tensors)]

    def known(self) -> Iterator[Tensor]:
        """Each set once, for solvers that need all data at once and know no epochs."""
        yield from self.tensors

    def to(self, device: str) -> "FixedViews":
        """The same views on a device."""
        return FixedViews([tensor.to(device) for tensor in self.tensors])

    def digest(self) -> bytes:
        """SHA-256 of all values."""
        sha = sha256()
        for tensor in self.tensors:
            sha.update(tensor.contiguous().numpy().data)
        return sha.digest()


class FreshViews:
    """Activations of pictures that are augmented differently in each epoch.

    Parameters
    ----------
    compute : callable
        Takes the number of a view, returns its activations of shape (m, ...).
    n : int
        Number of pictures.
    identity : callable
        Returns a digest of all that `compute` depends on.
    """

    n_known = 1

    def __init__(
        self, compute: Callable[[int], Tensor], n: int, identity: Callable[[], bytes]
    ) -> None:
        self._compute = compute
        self._n = n
        self._identity = identity
        self._latest: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return self._n

    def __call__(self, epoch: int) -> Tensor:
        """The activations of an epoch, counted from 0."""
        if self._latest is None or self._latest[0] != epoch:
            self._latest = None  # freed first: two sets at once would take twice the memory
            self._latest = epoch, self._compute(epoch)
        return self._latest[1]

    def known(self) -> Iterator[Tensor]:
        """The first view alone, for solvers that need all data at once and know no epochs."""
        yield self(0)

    def digest(self) -> bytes:
        """SHA-256 of all that the views depend on: computing them all would never end."""
        return self._identity()


Views = FixedViews | FreshViews

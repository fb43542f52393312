"""The interface of a source of backbones, and the record that describes weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from sktransfer.backbones.stages import CutNetwork
from sktransfer.images.preprocessing import Preprocessing


@dataclass(frozen=True)
class Weights:
    """A state dict that can be loaded, and how its pictures are prepared.

    Parameters
    ----------
    label : str
        The name by which the user knows it.
    preprocessing : Preprocessing
    accuracy : float
        ImageNet top-1 accuracy in percent; NaN where unknown.
    origin : str, optional
        Where the source fetches published weights from: a URL, or the name of a package.
    path : str, optional
        A local file. Neither `origin` nor `path` means random weights.
    version : str, optional
        Identity of the local file, so that a replaced file counts as other weights.
    aliases : tuple of str
        Other names by which the user may ask for published weights.
    license : str
        The licence of published weights: a name of SPDX, or an address.
    """

    label: str
    preprocessing: Preprocessing
    # Not compared: from Python 3.13 on, a record with NaN would not even equal itself, and so the
    # networks of such weights would not be found again.
    accuracy: float = field(default=float("nan"), compare=False)
    origin: str | None = None
    path: str | None = None
    version: str | None = None
    aliases: tuple[str, ...] = ()
    license: str = "unknown"

    @property
    def is_random(self) -> bool:
        """True for ``weights=None``."""
        return self.origin is None and self.path is None


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network; None where they are not known.

    Parameters
    ----------
    parameters : int or None
        Number of them, without the classifier.
    features : int or None
        Width of the feature vector.
    stages : mapping of str to int, or None
        The smallest ``unfreeze_depth`` that trains each stage; 0 if it has no parameters.
    """

    parameters: int | None
    features: int | None
    stages: Mapping[str, int] | None = None


class Source(Protocol):
    """Backbones that are named, filled, built and cut in the same way.

    Everything that depends on where a backbone comes from is behind these methods. A source
    that needs an optional package imports it inside them.

    Parameters
    ----------
    is_listed : bool
        If its names are listed unasked.
    builds_for_a_size : bool
        If a network is another one for other sizes of pictures, as where position embeddings are
        interpolated.
    """

    is_listed: bool
    builds_for_a_size: bool

    def names(self) -> tuple[str, ...]:
        """Names of all its backbones."""

    # Not `name in names()`: a source whose package is missing can list no names, but it recognises
    # its prefix, and then says what to install.
    def has(self, name: str) -> bool:
        """True if `name` is one of its backbones.

        Raises
        ------
        BackboneError
            If a package that is not installed would be needed to know.
        """

    def known_sizes(self, name: str) -> "Sizes | None":
        """Sizes of a network that need no building; None if it must be built to know them."""

    def published_weights(self, name: str) -> Mapping[str, Weights]:
        """Published weights by label; the first is what ``"DEFAULT"`` means."""

    def preprocessing(self, name: str) -> Preprocessing:
        """Preprocessing of random weights, and of files that do not state their own."""

    def at_hand(self, weights: Weights) -> bool:
        """True if published weights are on this machine, so that nothing would be downloaded."""

    def fetch(self, name: str, weights: Weights) -> Path | None:
        """Path of published weights that are not a local file yet, downloaded if need be.

        None where `build` makes the network with its weights.

        Raises
        ------
        WeightsUnavailableError
            If they can't be had, with the ways to get them.
        """

    def filled(
        self, name: str, weights: Weights, state: Mapping[str, Tensor]
    ) -> tuple[nn.Module, bool]:
        """The network with the tensors of a file, and whether they include its classifier.

        Raises
        ------
        WeightsError
            If the tensors are not those of the network.
        BackboneError
            If the network can't have pictures of the size in `weights`.
        """

    def build(self, name: str, num_classes: int, image_size: int | None) -> nn.Module:
        """The network, with random weights from torch's global generator.

        The last entry of its state dict belongs to the classifier. `image_size` matters only
        to networks that are built for one size; None is their usual one.
        """

    def cut(self, name: str, network: nn.Module, weights: Weights) -> CutNetwork:
        """The stages of the network `name` that was built for `weights`."""

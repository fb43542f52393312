"""What an engine is: a library that runs frozen networks, and what the choice asks it.

A new engine is a file beside this one, with an `EngineKind`, and a place in
``choice.KINDS``.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor

from sktransfer.backbones.frozen import FrozenNetwork


class Engine(Protocol):
    """A frozen network that is ready to run."""

    n_bytes: int
    """Memory that it takes beyond what the network does, as far as is known."""

    def __call__(self, batch: Tensor) -> Tensor:
        """Activations of shape (n, ...) for a batch of shape (n, ...)."""


class ModelCache(Protocol):
    """Keeps converted models beyond the end of the process."""

    def get_model(self, key: bytes) -> bytes | None:
        """The model kept under `key`; None without one."""

    def put_model(self, key: bytes, model: bytes) -> None:
        """Keep a model."""


class ConversionError(Exception):
    """An engine can't run a network; the message says why."""


class EngineKind(ABC):
    """A library that runs frozen networks. Its objects hold nothing: one is enough.

    Attributes
    ----------
    name : str
        Its value of the estimators' parameter ``engine``.
    title : str
        Its name in log lines.
    fixed_shape : bool
        Whether its engines take batches of one picture size only, of any length.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    fixed_shape: ClassVar[bool] = False

    @abstractmethod
    def unavailable(self, device: str, precision: str) -> str | None:
        """Why it can't be used on this machine, as a message for the user; None if it can.

        Parameters
        ----------
        device : str
            A device that exists, as `resolve_device` names it.
        precision : {"float32", "bfloat16", "float16"}
        """

    def works_in_this_process(self) -> bool:
        """Whether this process can use it, if the machine can.

        Where this is false, torch runs the network and no error is raised: users choose
        engines, and rarely know of the forks that a parallel search makes.
        """
        return True

    @abstractmethod
    def worth_it(self, network: FrozenNetwork, n_pictures: int) -> bool:
        """Whether ``engine="auto"`` picks it, where it is available.

        The number of pictures decides, and no clock: the same call gives the same bits.
        """

    @abstractmethod
    def prepare(
        self,
        network: FrozenNetwork,
        start: int,
        example: Tensor,
        *,
        device: str,
        precision: str,
        model_cache: ModelCache | None,
    ) -> Engine:
        """An engine for the links of `network` from number `start` on.

        Its values agree with torch's up to rounding: the store does not tell them apart.

        Parameters
        ----------
        network : FrozenNetwork
        start : int
        example : Tensor of shape (n, ...)
            A batch of what goes in.
        device : str
        precision : {"float32", "bfloat16", "float16"}
        model_cache : ModelCache, optional

        Raises
        ------
        ConversionError
            If it can't run this network. torch runs it then.
        """

"""The interface of engines, the libraries that run frozen networks.

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
    """Keeps converted models for later processes."""

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
        True if an engine takes batches of one picture size only (and of any length).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    fixed_shape: ClassVar[bool] = False

    @abstractmethod
    def unavailable(self, device: str, precision: str) -> str | None:
        """Return why it can't be used on this machine, as an error message; None if it can.

        Parameters
        ----------
        device : str
            A device that exists, as `resolve_device` names it.
        precision : {"float32", "bfloat16", "float16"}
        """

    def works_in_this_process(self) -> bool:
        """Return whether this process can use it on a machine where it is available.

        If not, torch runs the network and no error is raised: users choose an engine, but
        rarely know that a parallel search has forked their process.
        """
        return True

    def simulates(self, device: str, precision: str) -> bool:
        """Return whether it knows that the hardware would only simulate a precision, slowly."""
        return False

    def own_arithmetic(self, precision: str) -> str:
        """Return a text for the keys of the store if its values are its own; "" if torch's.

        They are torch's if they agree up to rounding. Where they are its own, predictions need
        the engine of the fit.
        """
        return ""

    @abstractmethod
    def worth_it(self, network: FrozenNetwork, n_pictures: int) -> bool:
        """Return whether ``engine="auto"`` picks it where it is available, in float32.

        It may depend on the number of pictures but on no clock, so that the same call gives
        the same bits.
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
        """Make an engine for the links of `network` from number `start` on.

        Its values agree with torch's up to rounding, unless it has an `own_arithmetic`.

        Parameters
        ----------
        network : FrozenNetwork
        start : int
        example : Tensor of shape (n, ...)
            A batch of inputs.
        device : str
        precision : {"float32", "bfloat16", "float16"}
        model_cache : ModelCache, optional

        Raises
        ------
        ConversionError
            If it can't run this network; torch runs it instead, where values agree.
        """

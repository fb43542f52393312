"""The engine that runs a frozen network: which one is picked, and those prepared earlier."""

import logging
import os
from dataclasses import dataclass
from weakref import ref

import torch
from torch import Tensor

from sktransfer._common.process_memory import get_or_prepare
from sktransfer._common.threads import computing
from sktransfer.activations.engines.arithmetic import arithmetic
from sktransfer.activations.engines.interface import (
    ConversionError,
    Engine,
    EngineKind,
    ModelCache,
)
from sktransfer.activations.engines.openvino_engine import OpenVINOKind
from sktransfer.activations.engines.torch_engine import TorchKind
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import EngineUnavailableError

logger = logging.getLogger("sktransfer")

# Torch runs every network on every device, so it takes over where another engine can't go on.
TORCH = TorchKind()
# In the order in which "auto" asks them.
KINDS: tuple[EngineKind, ...] = (OpenVINOKind(), TORCH)
ENGINES = ("auto", *(kind.name for kind in KINDS))


@dataclass(frozen=True)
class EngineChoice:
    """The parameters that decide how a frozen network is run.

    Parameters
    ----------
    engine : {"auto", "openvino", "torch"}
        One of `ENGINES`.
    device : str
        A device that exists, as `resolve_device` names it.
    precision : {"float32", "bfloat16", "float16"}
    """

    engine: str = "auto"
    device: str = "cpu"
    precision: str = "float32"

    def check(self) -> None:
        """Raise unless the three go together on this machine.

        Raises
        ------
        EngineUnavailableError
        """
        asked = [kind for kind in KINDS if kind.name == self.engine]
        for kind in (TORCH, *asked):  # torch whatever was asked, as it may have to take over
            reason = kind.unavailable(self.device, self.precision)
            if reason is not None:
                raise EngineUnavailableError(reason)

    def kind_for(self, network: FrozenNetwork, n_pictures: int) -> EngineKind:
        """The first kind that is asked for, or worth it for so many pictures; else torch."""
        if not len(network):
            return TORCH  # it hands the pixels on: nothing repays a conversion
        for kind in KINDS:
            wanted = kind.name == self.engine or (
                self.engine == "auto" and kind.worth_it(network, n_pictures)
            )
            if wanted and self._can_use(kind):
                return kind
        return TORCH

    def _can_use(self, kind: EngineKind) -> bool:
        available = kind.unavailable(self.device, self.precision) is None
        return available and kind.works_in_this_process()

    @property
    def arithmetic(self) -> str:
        """What values depend on beyond the network, to more than rounding."""
        return arithmetic(self.device, self.precision)


def engine_for(
    network: FrozenNetwork,
    start: int,
    example: Tensor,
    choice: EngineChoice,
    n_pictures: int,
    model_cache: ModelCache | None = None,
) -> Engine:
    """An engine for the links of `network` from number `start` on, prepared now or earlier.

    Parameters
    ----------
    network : FrozenNetwork
    start : int
    example : Tensor of shape (n, ...)
        A batch of what goes in.
    choice : EngineChoice
    n_pictures : int
        Number of pictures that it will run.
    model_cache : ModelCache, optional
    """
    kind = choice.kind_for(network, n_pictures)

    def prepared_by(kind: EngineKind) -> Engine:
        return kind.prepare(
            *(network, start, example),
            device=choice.device,
            precision=choice.precision,
            model_cache=model_cache,
        )

    def prepared() -> Engine:
        try:
            return prepared_by(kind)
        except ConversionError as error:
            name = network.backbone_name
            logger.warning("%s can't run %s (%s); torch runs it.", kind.title, name, error)
            # Kept under the key of the kind that failed, so that the next pass does not try again.
            return prepared_by(TORCH)

    with computing():
        key = (
            *(os.getpid(), ref(network), start),  # weak: an engine goes with its network
            *(choice.device, choice.precision, torch.get_num_threads(), kind.name),
            *(tuple(example.shape[1:]) if kind.fixed_shape else ()),
        )
        return get_or_prepare(key, prepared, lambda engine: engine.n_bytes, owner=network)

"""The engine that runs a frozen network: which one is picked, and those prepared earlier."""

import logging
import os
from dataclasses import dataclass, replace
from functools import cache
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

# Runs every network on every device, so it takes over from any other kind that fails.
TORCH = TorchKind()
# In the order in which "auto" asks them; torch always agrees, so it is the last.
KINDS: tuple[EngineKind, ...] = (OpenVINOKind(), TORCH)
ENGINES = ("auto", *(kind.name for kind in KINDS))
PRECISIONS = ("float32", "bfloat16", "float16")


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
        named = [kind for kind in KINDS if kind.name == self.engine]
        for kind in (TORCH, *named):  # torch in any case, as it may have to take over
            reason = kind.unavailable(self.device, self.precision)
            if reason is not None:
                raise EngineUnavailableError(reason)

    def settled(self) -> "EngineChoice":
        """The choice by which a fit computes, and all predictions after it.

        In float32 it is this one: engines agree up to rounding, and each pass may take another.
        In a shorter precision each engine has its own values. So "auto" becomes the first
        engine that can be used, for any number of pictures; or it becomes float32, with a log
        line, where the hardware would only simulate the precision.

        Raises
        ------
        EngineUnavailableError
            If the three do not go together on this machine or in this process.
        """
        if self.precision == "float32":
            return self
        self.check()
        is_auto = self.engine == "auto"
        if is_auto and any(kind.simulates(self.device, self.precision) for kind in KINDS):
            _log_once(
                f"This processor has no instructions for {self.precision}: float32 is faster, "
                "and is used instead."
            )
            return replace(self, precision="float32")
        for kind in KINDS:
            if (is_auto or kind.name == self.engine) and self._can_use(kind):
                return replace(self, engine=kind.name)
        raise EngineUnavailableError(
            f"engine={self.engine!r} can't be used in a process that was forked after it was "
            "loaded, as joblib's 'multiprocessing' backend does, and other engines give other "
            f"values in {self.precision}. Use the 'loky' backend, or precision='float32'."
        )

    def kind_for(self, network: FrozenNetwork, n_pictures: int) -> EngineKind:
        """The kind that `engine` names; with "auto", the first that is worth it.

        torch, where that kind can't be used, and for a network without links.
        """
        if not len(network):
            return TORCH  # it returns its pixels: there is nothing to convert
        for kind in KINDS:
            is_auto = self.engine == "auto" and kind.worth_it(network, n_pictures)
            if (is_auto or kind.name == self.engine) and self._can_use(kind):
                return kind
        return TORCH

    def _can_use(self, kind: EngineKind) -> bool:
        is_available = kind.unavailable(self.device, self.precision) is None
        return is_available and kind.works_in_this_process()

    @property
    def arithmetic(self) -> str:
        """A text that differs where the same network gives other values; of a settled choice."""
        own = self.own_arithmetic
        return arithmetic(self.device, self.precision) + (f" {own}" if own else "")

    @property
    def own_arithmetic(self) -> str:
        """The `own_arithmetic` of the engine of a settled choice; "" if its values are torch's."""
        named = (kind for kind in KINDS if kind.name == self.engine)
        return "".join(kind.own_arithmetic(self.precision) for kind in named)


@cache
def _log_once(line: str) -> None:
    logger.warning(line)


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
        A batch of inputs.
    choice : EngineChoice
        A settled one.
    n_pictures : int
        Number of pictures that the engine will run.
    model_cache : ModelCache, optional
        Keeps converted models for later processes.

    Raises
    ------
    EngineUnavailableError
        If the engine can't run this network, and torch would give other values.
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
            if kind.own_arithmetic(choice.precision):
                raise EngineUnavailableError(
                    f"{kind.title} can't run {name} in {choice.precision} ({error}), and torch "
                    "would give other values. Use engine='torch', or precision='float32'."
                ) from error
            logger.warning("%s can't run %s (%s); torch runs it.", kind.title, name, error)
            # Kept under the key of the kind that failed, so that the next pass does not try again.
            return prepared_by(TORCH)

    with computing():
        key = (
            *(os.getpid(), ref(network), start),  # weak: an engine goes with its network
            # Some engines fix their number of threads when they are prepared.
            *(choice.device, choice.precision, torch.get_num_threads(), kind.name),
            *(tuple(example.shape[1:]) if kind.fixed_shape else ()),
        )
        return get_or_prepare(key, prepared, lambda engine: engine.n_bytes, owner=network)

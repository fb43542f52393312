"""Read a state dict from a file, without running code that it may contain."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sktransfer.exceptions import WeightsError


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """State dict of a ``.safetensors`` or ``.pth`` file.

    Raises
    ------
    WeightsError
        If the file is damaged, or holds something other than named tensors.
    """
    # The tensors are copies. Mapped ones would change with the file, and everything fitted with
    # them; and a file that is cut short would end the process.
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load(path.read_bytes())
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} can't be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError, from a refused or broken pickle
        raise WeightsError(
            f"{path} is not a plain state dict and was refused, because loading it could run "
            f"code: {error}"
        ) from error
    return _unwrapped(state, path)


def _unwrapped(state: Any, path: Path) -> Mapping[str, Tensor]:
    """The named tensors inside the wrappings that training scripts put around them."""
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and torch.is_tensor(value) for key, value in state.items()
    ):
        raise WeightsError(f"{path} does not hold a state dict (a mapping of names to tensors).")
    # DataParallel and DistributedDataParallel put their own attribute's name before all others.
    if not any(key.startswith("module.") for key in state):
        return state  # as it is, with the metadata that torch keeps on it
    return {key.removeprefix("module."): value for key, value in state.items()}

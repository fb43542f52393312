"""A network in a file of ONNX, which onnxruntime computes: always frozen, and on the CPU."""

import hashlib
import importlib.util
import logging
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer._common.forks import after_fork_in_child
from sktransfer._common.left_behind import temporary_folder
from sktransfer.exceptions import BackboneError

logger = logging.getLogger("sktransfer")

_EXPORT = (
    "Export it with a dynamic batch and its weights inside: torch.onnx.export(network, (pictures,),"
    " path, dynamo=True, external_data=False, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))."
)

_lock = Lock()
# Sessions of the parent of a fork: their threads do not exist in the child, where deleting one
# would wait for them.
_of_parent: list[Any] = []


def _new_lock() -> None:
    global _lock
    _lock = Lock()


after_fork_in_child(_new_lock)


def onnx_builder(name: str, path: Path, shape: tuple[int, int, int]) -> Callable[[], nn.Module]:
    """A function that makes the network in a file, which is read now and not again.

    Parameters
    ----------
    name : str
        The backbone, for messages.
    path : Path
    shape : tuple of int
        Shape (c, height, width) of its pictures.

    Raises
    ------
    BackboneError
        If onnxruntime is missing, or the file is not a network that maps pictures to features.
    """
    if path.suffix != ".onnx" or not path.is_file():
        raise BackboneError(
            f"build={str(path)!r} of {name} must be a function that makes the network, or the path "
            "of a file of ONNX, which ends in .onnx and exists."
        )
    if importlib.util.find_spec("onnxruntime") is None:
        raise BackboneError(
            f"{name} is a file of ONNX, which needs the package onnxruntime. Use: "
            'pip install "sktransfer[onnx]"'
        )
    model = OnnxModel(name, path.read_bytes())
    model.check(path.name, shape)
    return lambda: OnnxNetwork(model)


class OnnxModel:
    """The content of a file, and a session that runs it.

    Parameters
    ----------
    name : str
        The backbone, for messages.
    content : bytes
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.content = name, content
        self._session: Any = None
        self._made_for: tuple[int, int] | None = None
        self._has_told = False

    # Copies of a network share its session.
    def __deepcopy__(self, memo: Any) -> "OnnxModel":
        return self

    def check(self, filename: str, shape: tuple[int, int, int]) -> None:
        """Raise unless it maps any number of pictures to features.

        Raises
        ------
        BackboneError
        """
        what = f"The file {filename} of {self.name}"
        try:
            session = self._new_session(1)
        # onnxruntime has an exception for each of its codes, without a common base.
        except Exception as error:
            raise BackboneError(
                f"{what} can't be read by onnxruntime: {str(error)[:300]}. Its weights must be "
                f"inside. {_EXPORT}"
            ) from error
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BackboneError(
                f"{what} must have one input and one output, the pictures and their features; it "
                f"has {[each.name for each in inputs]} and {[each.name for each in outputs]}."
            )
        (given,) = inputs
        # Sizes that are not fixed are names, or None.
        fixed = [size if isinstance(size, int) else None for size in given.shape]
        fits = len(fixed) == 4 and all(
            size in (None, wanted) for size, wanted in zip(fixed, (None, *shape), strict=True)
        )
        if not fits or given.type != "tensor(float)":
            raise BackboneError(
                f"{what} must take float32 pictures of shape (n, {', '.join(map(str, shape))}), as "
                f"its preprocessing says, with any n; it takes {given.type} of shape "
                f"{given.shape}. {_EXPORT}"
            )

    def run(self, pictures: Tensor) -> Tensor:
        """Features of pictures, on the device of these."""
        if pictures.device.type != "cpu" and not self._has_told:
            self._has_told = True
            logger.warning("%s is a file of ONNX: the CPU computes it, in float32.", self.name)
        session = self._current_session()
        batch = {session.get_inputs()[0].name: pictures.cpu().float().contiguous().numpy()}
        (features,) = session.run(None, batch)
        return torch.from_numpy(features).to(pictures.device)

    def _current_session(self) -> Any:
        """A session of this process, on as many threads as torch uses."""
        wanted = os.getpid(), torch.get_num_threads()
        with _lock:
            if self._made_for != wanted:
                if self._made_for is not None and self._made_for[0] != wanted[0]:
                    _of_parent.append(self._session)
                self._session = self._new_session(wanted[1])
                self._made_for = wanted
            return self._session

    def _new_session(self, n_threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.log_severity_level = 3  # errors, which are raised as well
        # An empty folder: weights outside of the file could change, or be those of another file
        # in the working directory.
        with temporary_folder() as nowhere:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(nowhere)
            )
            return onnxruntime.InferenceSession(
                self.content, options, providers=["CPUExecutionProvider"]
            )


class OnnxNetwork(nn.Module):
    """A network without parameters that lets onnxruntime compute.

    Parameters
    ----------
    model : OnnxModel
    """

    digest: Tensor

    def __init__(self, model: OnnxModel) -> None:
        super().__init__()
        self.model = model
        # Networks are told apart by their tensors: this one stands for the file.
        digest = list(hashlib.sha256(model.content).digest())
        self.register_buffer("digest", torch.tensor(digest, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        is_traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if not isinstance(x, Tensor) or x.is_meta or is_traced:
            raise TypeError("onnxruntime runs a file of ONNX as a whole")
        return self.model.run(x)

"""Record a network as torch.export's program, for pictures of any number and size."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch
from torch.export import Dim, ExportedProgram

from sktransfer._common.threads import computing
from sktransfer.exceptions import ExportError
from sktransfer.persistence.graphs.network import Network

# The sizes of an input (n, h, w, c) in which a recording varies, by their axes.
SIZES = {"pictures": {0: "n", 1: "h", 2: "w"}, "prepared": {0: "n"}}
_LOGGERS = ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def recorded(network: Network) -> ExportedProgram:
    """A program of the network, for any number of pictures and, before they are prepared, any size.

    Raises
    ------
    ExportError
        If torch can't record the network.
    """
    preset = network.preprocessing
    side, channels = preset.crop_size, len(preset.mean)
    # Sizes that are unlike each other and the square, so that nothing takes one for the other.
    height, width = (side + 9, side + 22) if network.given == "pictures" else (side, side)
    example = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    dynamic = dict.fromkeys(SIZES[network.given], Dim.DYNAMIC)
    try:
        with quietly(), torch.no_grad():
            return torch.export.export(
                network.module, (example,), dynamic_shapes=(dynamic,), strict=False
            )
    except Exception as error:  # torch has many types, and documents none
        raise ExportError(
            f"torch can't record this network as a graph: {type(error).__name__}: "
            f"{str(error)[:300]}. Networks whose Python code depends on values can't be graphs."
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Run a block of torch's exporters without their messages, and alone in the process.

    They change global settings while they work.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with computing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

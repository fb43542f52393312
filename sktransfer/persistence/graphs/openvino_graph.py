"""Pairs of OpenVINO's files: ``.xml`` has the structure, ``.bin`` beside it the weights."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from sktransfer._common.files import check_writable, replaced_when_complete
from sktransfer._common.left_behind import temporary_folder
from sktransfer.activations.engines.openvino_engine import loaded_openvino, new_core
from sktransfer.exceptions import ExportError
from sktransfer.persistence.graphs.interface import GraphFormat, Run
from sktransfer.persistence.graphs.network import Network
from sktransfer.persistence.graphs.recording import quietly


class OpenVINOGraph(GraphFormat):
    """A pair of files in float32; the metadata are ``rt_info`` under ``sktransfer``."""

    needs = ("openvino",)
    extra = "openvino"

    @contextlib.contextmanager
    def replaced(self, path: Path) -> Iterator[Path]:
        """As in the base, for both files."""
        path = Path(os.path.realpath(path))  # what a link leads to is replaced, and not the link
        weights = path.with_suffix(".bin")
        check_writable(weights)
        with temporary_folder() as folder:
            new = folder / "model.xml"
            yield new
            with (
                replaced_when_complete(path) as new_structure,
                replaced_when_complete(weights) as new_weights,
            ):
                shutil.copyfile(new, new_structure)
                shutil.copyfile(new.with_suffix(".bin"), new_weights)
                # A kill may leave no structure, but none beside the weights of another one.
                path.unlink(missing_ok=True)

    def write(
        self,
        program: ExportedProgram,
        network: Network,
        metadata: Mapping[str, str],
        path: Path,
        opset: int | None,
    ) -> None:
        openvino = loaded_openvino()
        try:
            with quietly(), torch.no_grad():
                model = openvino.convert_model(program)
        except Exception as error:  # OpenVINO documents no type of its own
            raise ExportError(
                f"OpenVINO can't convert this network: {type(error).__name__}: "
                f"{str(error)[:300]}. Try .onnx, which it reads too."
            ) from error
        model.inputs[0].set_names({network.given})
        for output, name in zip(model.outputs, network.outputs, strict=True):
            output.set_names({name})
        channels, *square = network.preprocessing.shape
        sizes = [-1, -1] if network.given == "pictures" else square
        model.reshape({network.given: [-1, *sizes, channels]})
        for name, value in metadata.items():
            model.set_rt_info(value, ["sktransfer", name])
        openvino.save_model(model, path, compress_to_fp16=False)

    def runner(self, path: Path) -> Run:
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,
        }
        model = new_core().compile_model(path, "CPU", options)
        return lambda pictures: [np.array(each) for each in model([pictures]).values()]

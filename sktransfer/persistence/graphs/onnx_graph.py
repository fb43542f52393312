"""Files of ONNX, which onnxruntime and many others run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from sktransfer.exceptions import ExportError
from sktransfer.persistence.graphs.interface import GraphFormat, Run
from sktransfer.persistence.graphs.network import Network
from sktransfer.persistence.graphs.recording import SIZES, quietly

# The first version that torch's exporter writes; newer ones run in fewer places.
OPSET = 18
# The format can't have more in one file.
_LARGEST = 2**31 - 1


class OnnxGraph(GraphFormat):
    """A file with the weights inside; the metadata are the model's own."""

    needs = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnx"

    def write(
        self,
        program: ExportedProgram,
        network: Network,
        metadata: Mapping[str, str],
        path: Path,
        opset: int | None,
    ) -> None:
        size = sum(each.nbytes for each in program.state_dict.values())
        if size > _LARGEST:
            raise ExportError(
                f"The weights take {size / 1e9:.1f} GB, and a file of ONNX holds 2 GB. Write .xml "
                "or .pt2 instead."
            )
        wanted = OPSET if opset is None else int(opset)
        try:
            with quietly(), torch.no_grad():
                written: Any = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=wanted,
                    input_names=[network.given],
                    output_names=list(network.outputs),
                    dynamic_shapes=(SIZES[network.given],),  # for their names
                    verbose=False,
                )
        except Exception as error:  # torch has many types, and documents none
            raise ExportError(
                f"torch can't write this network in ONNX: {type(error).__name__}: "
                f"{str(error)[:300]}. Try .pt2, which torch itself runs."
            ) from error
        found = written.model.opset_imports[""]
        if found != wanted:  # a conversion that fails is only logged
            raise ExportError(f"opset={opset} can't hold this network. Use {found}, or None.")
        written.model.metadata_props.update(metadata)
        written.save(path, external_data=False)

    def runner(self, path: Path) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors, which are raised as well
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        (given,) = session.get_inputs()
        return lambda pictures: session.run(None, {given.name: pictures})

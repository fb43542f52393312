"""Archives of torch.export, which torch runs without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from sktransfer.persistence.graphs.interface import GraphFormat, Run
from sktransfer.persistence.graphs.network import Network
from sktransfer.persistence.graphs.recording import quietly

METADATA = "sktransfer.json"


class TorchArchive(GraphFormat):
    """An archive with the weights inside; the metadata are a file of JSON in it."""

    def write(
        self,
        program: ExportedProgram,
        network: Network,
        metadata: Mapping[str, str],
        path: Path,
        opset: int | None,
    ) -> None:
        with quietly(), path.open("wb") as file:
            torch.export.save(program, file, extra_files={METADATA: json.dumps(dict(metadata))})

    def runner(self, path: Path) -> Run:
        with quietly(), path.open("rb") as file:
            module = torch.export.load(file).module()

        def run(pictures: np.ndarray) -> list[np.ndarray]:
            with torch.no_grad():
                return [each.numpy() for each in module(torch.from_numpy(pictures))]

        return run

"""The interface of the formats of graphs.

A new format is a file beside this one, with a `GraphFormat`, and a place in ``export.FORMATS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch.export import ExportedProgram

from sktransfer._common.files import replaced_when_complete
from sktransfer.persistence.graphs.network import Network

# From uint8 pictures (n, h, w, c) to the outputs of a graph.
Run = Callable[[np.ndarray], list[np.ndarray]]


class GraphFormat(ABC):
    """A format of files. Its objects hold nothing: one is enough.

    Attributes
    ----------
    needs : tuple of str
        Packages that write and run it, besides torch.
    extra : str
        The extra of this package that has them.
    tolerance : float
        Largest difference of values from the estimator's, relative to 1 for probabilities and to
        the largest feature for features.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    tolerance: ClassVar[float] = 1e-3

    def replaced(self, path: Path) -> AbstractContextManager[Path]:
        """Give a path for a new file, which replaces `path` when the block has ended well."""
        return replaced_when_complete(path)

    @abstractmethod
    def write(
        self,
        program: ExportedProgram,
        network: Network,
        metadata: Mapping[str, str],
        path: Path,
        opset: int | None,
    ) -> None:
        """Write a program, recorded from `network`, with its weights.

        Raises
        ------
        ExportError
            If it can't be said in this format.
        """

    @abstractmethod
    def runner(self, path: Path) -> Run:
        """Return a function that runs a file which this process has written."""

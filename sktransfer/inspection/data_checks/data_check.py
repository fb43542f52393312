"""The table of findings that check_pictures returns."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.data_checks.corrections import Doubt, write_doubts
from sktransfer.inspection.data_checks.findings import KINDS, SEVERITIES, Finding
from sktransfer.inspection.data_checks.rendering import as_html, as_text

_ORDER = {(s, k): (i, j) for i, s in enumerate(SEVERITIES) for j, k in enumerate(KINDS)}
_DOUBTFUL = ("label_conflict", "label_error")


class DataCheck(Sequence[Finding]):
    """The findings of :func:`check_pictures`, the most severe first.

    It is a sequence of :class:`Finding`. ``print(check)`` shows them by kind, and notebooks show
    a table.

    Parameters
    ----------
    findings : sequence of Finding
    not_made : mapping of str to str
        Kinds that were not, or not wholly, looked for, and why.
    n_rows, n_test_rows : int
        Number of pictures in X and in X_test.
    y : ndarray or None
        Labels of X.
    pictures : sequence of str
        Name or path of each picture in X.
    """

    def __init__(
        self,
        findings: Sequence[Finding],
        *,
        not_made: Mapping[str, str],
        n_rows: int,
        n_test_rows: int = 0,
        y: np.ndarray | None = None,
        pictures: Sequence[str] = (),
    ) -> None:
        self.findings = tuple(sorted(findings, key=lambda each: _ORDER[each.severity, each.kind]))
        self.not_made = dict(not_made)
        self.n_rows = n_rows
        self.n_test_rows = n_test_rows
        self._y = y
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, which: Any) -> Any:
        return self.findings[which]

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind that there is."""
        return dict(Counter(each.kind for each in self.findings))

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Findings of one kind.

        Parameters
        ----------
        kind : str
            Such as "label_error".

        Returns
        -------
        findings : tuple of Finding

        Raises
        ------
        ParameterError
            If there is no such kind.
        """
        if kind not in KINDS:
            raise ParameterError(f"kind must be one of {list(KINDS)}; got {kind!r}.")
        return tuple(each for each in self.findings if each.kind == kind)

    def to_frame(self) -> Any:
        """Make a DataFrame, with one row for each finding.

        Returns
        -------
        frame : pandas.DataFrame
            With the fields of :class:`Finding` as columns.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        import pandas as pd  # type: ignore[import-untyped]  # an optional dependency

        names = [field.name for field in fields(Finding)]
        rows = [[getattr(each, name) for name in names] for each in self.findings]
        # Names of files may hold bytes that are no text, which pandas' own type for texts refuses.
        return pd.DataFrame(rows, columns=names, dtype=object).astype({"score": float})

    def write_corrections(self, path: str | os.PathLike[str]) -> int:
        """Write a CSV file of the labels that may be wrong, to be edited and read back.

        It has one line for each row of X whose label is probably wrong, or is that of a copy with
        another label. The column ``label`` holds the label as it is: change it where it is wrong,
        for example to the ``suggestion``, and read the file with :func:`read_corrections`. A file
        that was not edited changes nothing.

        In a spreadsheet, a text that begins with =, +, - or @ would be a formula. It gets an
        apostrophe before it, as has each text that begins with one; reading removes it. The same
        holds for parts of a text after a semicolon, tab or line break.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced.

        Returns
        -------
        n : int
            Number of lines.

        Raises
        ------
        ParameterError
            If y was not given, or has several labels per picture.
        """
        if self._y is None or self._y.ndim > 1:
            raise ParameterError(
                "Corrections are of one label per picture: give check_pictures such a y."
            )
        doubts: dict[int, Doubt] = {}
        for finding in (each for kind in _DOUBTFUL for each in self.of_kind(kind)):
            for row in finding.rows:
                before = doubts.get(row)
                doubts[row] = Doubt(
                    row,
                    self._pictures[row],
                    self._y[row : row + 1].tolist()[0],
                    finding.suggestion,
                    finding.message if before is None else f"{before.reason} {finding.message}",
                )
        write_doubts(path, list(doubts.values()))
        return len(doubts)

    def html(self) -> str:
        """Make a part of an HTML page, without scripts, with all names and labels escaped.

        Returns
        -------
        html : str
        """
        return as_html(self.findings, self.not_made, self._title())

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return as_text(self.findings, self.not_made, self._title())

    def _title(self) -> str:
        pictures = f"{self.n_rows} pictures in X"
        if self.n_test_rows:
            pictures += f" and {self.n_test_rows} in X_test"
        counts = Counter(each.severity for each in self.findings)
        told = [f"{counts[s]} {s}{'' if counts[s] == 1 else 's'}" for s in SEVERITIES if counts[s]]
        return f"{pictures}: {', '.join(told) or 'no findings'}"

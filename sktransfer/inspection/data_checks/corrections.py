"""Suggested corrections of labels: a CSV file that is written, edited, and read back."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.data_checks.given_labels import given_labels

_COLUMNS = ("row", "picture", "label_in_y", "label", "suggestion", "reason")
# The beginning of a formula, or an apostrophe, where a cell may begin: also after what may separate
# cells in another country.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=\"*[=+\-@\t\r'])")


class Doubt(NamedTuple):
    """A label that may be wrong.

    Parameters
    ----------
    row : int
        Of X and y.
    picture : str
    label, suggestion : label
        As in y; None where there is no suggestion.
    reason : str
    """

    row: int
    picture: str
    label: Any
    suggestion: Any
    reason: str


def write_doubts(path: str | os.PathLike[str], doubts: Sequence[Doubt]) -> None:
    """Write the CSV file; see `DataCheck.write_corrections`."""
    # With a mark at its beginning, by which spreadsheets recognise UTF-8. Names of files may hold
    # bytes that are none.
    with open(path, "w", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for each in doubts:
            own = _cell(each.label)
            guess = "" if each.suggestion is None else _cell(each.suggestion)
            writer.writerow(
                [each.row, _harmless(each.picture), own, own, guess, _harmless(each.reason)]
            )


def read_corrections(path: str | os.PathLike[str], y: Any) -> np.ndarray:
    r"""Read labels that were corrected in a file of :meth:`DataCheck.write_corrections`.

    Parameters
    ----------
    path : str or path-like
        The CSV file, in which labels of the column ``label`` may have been changed, and lines
        removed. Comma, semicolon or tab may separate the columns.
    y : array-like of shape (n,)
        The labels that :func:`check_pictures` was given.

    Returns
    -------
    y : ndarray of shape (n,)
        A copy of y with the labels of the file, of the same dtype.

    Raises
    ------
    ParameterError
        If a label is none of those in y, if a line is of another row or label than y has, or if the
        file has other columns. The error names the line; y is not changed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> import numpy as np
    >>> from sktransfer import read_corrections
    >>> path = Path(mkdtemp(), "labels.csv")
    >>> _ = path.write_text("row,label_in_y,label\n1,cat,dog\n")
    >>> read_corrections(path, np.array(["cat", "cat", "dog"])).tolist()
    ['cat', 'dog', 'dog']
    """
    labels = np.array(given_labels(y if hasattr(y, "shape") else np.asarray(y)))
    if labels.ndim != 1:
        raise ParameterError(
            f"y must have one label for each picture, of shape (n,); got shape {labels.shape}."
        )
    own = labels.tolist()
    known = _known(own)
    changed: dict[int, Any] = {}
    for number, line in _lines(path):
        where = f"line {number} of {os.fspath(path)!r}"
        row = _row(line["row"], len(labels), where)
        before = _label(line["label_in_y"], known, f"label_in_y in {where}")
        if before != own[row]:
            raise ParameterError(
                f"{where} is of a label {before!r} in row {row}, but y has {own[row]!r} "
                "there. Give the y that check_pictures was given."
            )
        after = _label(line["label"], known, f"label in {where}")
        if changed.setdefault(row, after) != after:
            raise ParameterError(f"{where} gives row {row} a second label. Keep one line of it.")
    for row, label in changed.items():
        labels[row] = label
    return labels


def _lines(path: str | os.PathLike[str]) -> list[tuple[int, dict[str, str]]]:
    """The lines of the file with their numbers; a label may itself have line breaks."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        # Spreadsheets of some countries write semicolons.
        start = file.readline()
        file.seek(0)
        separator = next(
            (each for each in ";\t" if start.startswith((f"row{each}", f'"row"{each}'))), ","
        )
        reader = csv.DictReader(file, delimiter=separator)
        missing = {"row", "label_in_y", "label"} - set(reader.fieldnames or ())
        if missing:
            raise ParameterError(
                f"{os.fspath(path)!r} lacks the columns {sorted(missing)}: it is no file of "
                "write_corrections, or its first line was changed."
            )
        lines = []
        for line in reader:
            if any(line[name] is None for name in ("row", "label_in_y", "label")):
                raise ParameterError(
                    f"Line {reader.line_num} of {os.fspath(path)!r} has too few columns."
                )
            lines.append((reader.line_num, line))
        return lines


def _row(text: str, n: int, where: str) -> int:
    row = int(text) if text.strip().isdecimal() else -1
    if not 0 <= row < n:
        raise ParameterError(f"row in {where} must be a number from 0 to {n - 1}; got {text!r}.")
    return row


def _known(labels: Sequence[Any]) -> dict[str, Any]:
    """All labels, by the texts that a cell may have for them; what is written comes first."""
    values = list(dict.fromkeys(labels))
    known = {_cell(value): value for value in values}
    for value in values:
        known.setdefault(str(value), value)
    for value in values:
        if isinstance(value, bool):  # spreadsheets write TRUE
            known.setdefault(str(value).upper(), value)
        elif isinstance(value, float):  # and 3 for 3.0
            known.setdefault(f"{value:g}", value)
    return known


def _label(text: str, known: Mapping[str, Any], what: str) -> Any:
    if text not in known:
        shown = sorted(map(str, dict.fromkeys(known.values())))
        raise ParameterError(
            f"{what} must be one of the labels in y, {', '.join(map(repr, shown[:20]))}"
            f"{', ...' if len(shown) > 20 else ''}; got {text!r}. Correct the file. (Spreadsheets "
            "change labels such as 007 or 1-2: format the column as text before.)"
        )
    return known[text]


def _cell(label: Any) -> str:
    """A label as it is written: numbers as they are, since -1 is no formula."""
    return _harmless(label) if isinstance(label, str) else str(label)


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return _FORMULA.sub(r"\1'", text)

"""The manifest of a model file: strict JSON, with the number of its format."""

from __future__ import annotations

import json
from typing import Any

from sktransfer._common.python_numbers import with_python_numbers
from sktransfer.exceptions import ModelFileError

FORMAT = 1
NAME = "manifest.json"
# That of a network with thousands of tensors, and of a fit with thousands of classes, is below
# 3 MB; JSON takes up to 30 times as much memory once it is read.
MAX_BYTES = 16 * 2**20


def as_json(manifest: dict[str, Any]) -> bytes:
    """The manifest as text, one that people can read.

    Raises
    ------
    ValueError
        If it would be too large to be opened.
    """
    # A search over an array hands over numbers of NumPy, which JSON does not know.
    manifest = with_python_numbers(manifest)
    text = json.dumps(manifest, indent=1, allow_nan=False).encode("ascii")
    if len(text) > MAX_BYTES:
        raise ValueError(
            f"The estimator has parameters, classes or columns that take {len(text):,} bytes as "
            f"text, and a model file can hold {MAX_BYTES:,}. Use joblib.dump instead."
        )
    return text


def from_json(text: bytes) -> dict[str, Any]:
    """The manifest, if it is of a format that this version reads.

    Raises
    ------
    ModelFileError
    """
    try:
        manifest = json.loads(
            text.decode("ascii"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_doubles,
        )
    # RecursionError: records within records, thousands deep.
    except (ValueError, RecursionError, MemoryError) as error:
        raise ModelFileError(f"Its manifest can't be read: {str(error)[:200]}") from error
    number = manifest.get("format") if isinstance(manifest, dict) else None
    if type(number) is not int or number < 1:
        raise ModelFileError("Its manifest has no format number.")
    if number > FORMAT:
        written_by = str(manifest.get("sktransfer"))[:40]
        raise ModelFileError(
            f"It has format {number}, and this version of sktransfer reads formats up to {FORMAT}. "
            f"It needs sktransfer {written_by} or newer: pip install -U sktransfer"
        )
    return manifest


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a record names a field twice")
    return record

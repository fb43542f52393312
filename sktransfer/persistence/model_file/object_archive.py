"""The archive that skops writes, checked before skops reads it.

skops trusts the form of its archives. It decompresses sparse arrays, and walks through a part
again for each place that shares it: both make much of a small file.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.container import check_entries
from sktransfer.persistence.model_file.manifest import MAX_BYTES

_SCHEMA = "schema.json"
# Sparse arrays hold no more than this beside a share of what the file takes.
_MAX_SPARSE, _MAX_RATIO = 2**24, 20


def check_object_archive(content: bytes) -> None:
    """Raise unless an archive is plain, and its parts are as large as they look.

    Raises
    ------
    ModelFileError
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_entries(archive.infolist(), len(content))
        if archive.getinfo(_SCHEMA).file_size > MAX_BYTES:
            raise ModelFileError("The description of an object is larger than that of any.")
        _check_shared_parts(json.loads(archive.read(_SCHEMA)), {})
        sparse = [name for name in archive.namelist() if name.endswith(".npz")]
        size = sum(_uncompressed(archive.read(name)) for name in sparse)
    if size > _MAX_SPARSE + _MAX_RATIO * len(content):
        raise ModelFileError(f"Its sparse arrays take {size:,} bytes, in a file of few.")


def _check_shared_parts(part: Any, sizes: dict[Any, int]) -> int:
    """Number of records in a part; raises for one that is written smaller where it is repeated.

    skops writes what is shared in full, at each place.
    """
    if isinstance(part, list):
        return sum(_check_shared_parts(each, sizes) for each in part)
    if not isinstance(part, dict):
        return 0
    size = 1 + sum(_check_shared_parts(each, sizes) for each in part.values())
    number = part.get("__id__")
    if isinstance(number, int | str) and sizes.setdefault(number, size) != size:
        raise ModelFileError("An object of scikit-learn is written in two ways.")
    return size


def _uncompressed(content: bytes) -> int:
    """Number of bytes of an archive of numpy once it is read."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(entry.file_size for entry in archive.infolist())

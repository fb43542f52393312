"""Register networks of one's own as backbones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sktransfer._common.process_memory import free_memory
from sktransfer.backbones.catalogue import forget_records, sizes_of
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import REGISTERED, SOURCES
from sktransfer.backbones.sources.registered import Registration
from sktransfer.exceptions import BackboneError
from sktransfer.images.preprocessing import RESAMPLING, Preprocessing

_REQUIRED = ("image_size", "mean", "std")
_OPTIONAL = ("resize_size", "interpolation")


def register_backbone(
    name: str,
    build: Callable[[], nn.Module],
    *,
    preprocessing: Mapping[str, Any],
    stages: Sequence[str] | None = None,
    classifier: str | None = None,
    weights: str | Path | None = None,
) -> None:
    """Make a network of your own a backbone, which estimators take by its name.

    The network is built once now, and its stages are run on two random pictures: together they
    must compute what the network itself computes.

    A name is known to the process that registered it. Other processes, which open a pickle or are
    workers of ``n_jobs``, must register it as well. A package can do that for all processes: by an
    entry point of the group ``sktransfer.backbones``, which has the backbone's name and refers to
    a function without parameters that calls `register_backbone`.

    Parameters
    ----------
    name : str
        Not a name of torchvision or of timm. A name that was registered before then means the new
        network.
    build : callable
        Returns a new ``torch.nn.Module``. It maps float pictures (n, 3, h, w) to
        features (n, width), a map (n, c, h, w) or tokens (n, length, c), or to scores if
        `classifier` is given.
    preprocessing : dict
        How pictures are prepared. ``image_size`` : int, side of the square in pixels. ``mean`` and
        ``std`` : three floats each, for pixels scaled to 0..1. Optionally ``resize_size`` : int,
        the length of the shorter side before the crop (default: `image_size`), and
        ``interpolation`` : {"bilinear", "bicubic", "nearest"} (default: "bilinear").
    stages : sequence of str, optional
        Names of submodules in the order in which they run, each the last one of a stage. What runs
        before the first belongs to it, and what runs after the last, up to the features, to the
        last. By default, stages are found: levels of resolution, or the blocks of a network of
        one resolution. A network that can't be cut so is one stage, and a line in the log says
        why.
    classifier : str, optional
        Name of the submodule that makes scores of features, which is left out.
    weights : str or Path, optional
        A ``.safetensors`` or ``.pth`` file with the network's state dict, which
        ``weights="DEFAULT"`` loads. By default, the network has those with which `build` makes
        it.

    Raises
    ------
    BackboneError
        If the name belongs to another source, `build` returns no module, the stages do not follow
        each other, or the network can't run on such pictures.
    WeightsError
        If the file is not one of the network's weights.

    Examples
    --------
    >>> import torch
    >>> from sktransfer import PretrainedFeatureExtractor, load_clipart, register_backbone
    >>> def build():
    ...     return torch.nn.Sequential(
    ...         torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3, 2)
    ...     )
    >>> register_backbone(
    ...     "mine/small", build,
    ...     preprocessing={"image_size": 64, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)},
    ... )
    >>> paths, _ = load_clipart(return_X_y=True)
    >>> PretrainedFeatureExtractor("mine/small").fit_transform(paths[:4]).shape
    (4, 16)
    """
    for title, source in SOURCES.items():
        if source is not REGISTERED and source.has(name):
            raise BackboneError(f"name={name!r} is a backbone of {title}. Use another name.")
    before = REGISTERED.registrations.get(name)
    registration = Registration(
        build,
        _preprocessing(preprocessing),
        None if stages is None else tuple(stages),
        classifier,
        None if weights is None else Path(weights).expanduser(),
    )
    _keep(name, registration)
    try:
        if weights is not None and not Path(weights).expanduser().is_file():
            raise BackboneError(f"weights={str(weights)!r} of {name} is no file.")
        backbone = load_backbone(name)
        sizes = sizes_of(backbone, backbone.width())
    except BaseException:
        _keep(name, before)
        raise
    REGISTERED.registrations[name] = replace(registration, sizes=sizes)


def _keep(name: str, registration: Registration | None) -> None:
    # What the process keeps of a network is found by its name.
    free_memory()
    forget_records()
    if registration is None:
        REGISTERED.registrations.pop(name, None)
    else:
        REGISTERED.registrations[name] = registration


def _preprocessing(given: Mapping[str, Any]) -> Preprocessing:
    """The preset that a user's dict describes.

    Raises
    ------
    BackboneError
    """
    unknown = set(given) - {*_REQUIRED, *_OPTIONAL}
    missing = [key for key in _REQUIRED if key not in given]
    if unknown or missing:
        raise BackboneError(
            f"preprocessing needs the keys {list(_REQUIRED)}, and may have {list(_OPTIONAL)}; "
            f"missing are {missing}, unknown {sorted(map(str, unknown))}."
        )
    size = int(given["image_size"])
    resize, interpolation = (
        int(given.get("resize_size", size)),
        given.get("interpolation", "bilinear"),
    )
    mean, std = (tuple(map(float, given[key])) for key in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise BackboneError(
            f"preprocessing needs three numbers as mean, and three above 0 as std; got "
            f"{given['mean']!r} and {given['std']!r}."
        )
    if not 0 < size <= resize or interpolation not in RESAMPLING:
        raise BackboneError(
            f"preprocessing needs 0 < image_size <= resize_size, and an interpolation of "
            f"{list(RESAMPLING)}; got {size}, {resize} and {interpolation!r}."
        )
    return Preprocessing(resize, size, interpolation, mean, std)

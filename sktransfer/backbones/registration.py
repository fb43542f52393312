"""Register networks of one's own as backbones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

from torch import nn

from sktransfer._common.process_memory import free_memory
from sktransfer.backbones.catalogue import forget_records, sizes_of
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import REGISTERED, SOURCES
from sktransfer.backbones.onnx_file import onnx_builder
from sktransfer.backbones.sources.registered import Registration
from sktransfer.backbones.sources.timm import PREFIX
from sktransfer.exceptions import BackboneError
from sktransfer.images.preprocessing import RESAMPLING, Preprocessing

_REQUIRED = ("image_size", "mean", "std")
_OPTIONAL = ("resize_size", "interpolation")


def register_backbone(
    name: str,
    build: Callable[[], nn.Module] | str | Path,
    *,
    preprocessing: Mapping[str, Any],
    stages: Sequence[str] | None = None,
    classifier: str | None = None,
    weights: str | Path | None = None,
    n_prefix_tokens: int = 0,
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
    build : callable, str or Path
        Returns a new ``torch.nn.Module``. It maps float pictures (n, c, h, w) to
        features (n, width), a map (n, c, h, w) or tokens (n, length, c), or to scores if
        `classifier` is given. Or the path of an ``.onnx`` file (extra ``onnx``) that maps pictures
        to features in this way. The file is read now. onnxruntime computes it, on the CPU and in
        float32 (a shorter `precision` needs ``engine="torch"``, and changes nothing); it is one
        stage and can't be trained.
    preprocessing : dict
        How pictures are prepared. ``image_size`` : int, side of the square in pixels. ``mean`` and
        ``std`` : three floats each, for pixels scaled to 0..1; for a network of other channels as
        many as it has, which estimators then need as `in_channels`. Optionally
        ``resize_size`` : int,
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
    n_prefix_tokens : int, default=0
        Of a transformer: number of tokens before those of positions, the class token first.

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
    _check_arguments(name, build, stages, weights)
    preset = _preprocessing(preprocessing)
    if isinstance(build, str | Path):
        _check_alone(name, stages=stages, classifier=classifier, weights=weights)
        build = onnx_builder(name, Path(build).expanduser(), preset.shape)
    # Absolute: a script may go to another folder.
    path = None if weights is None else Path(weights).expanduser().absolute()
    if path is not None and not path.is_file():
        raise BackboneError(f"weights={str(weights)!r} of {name} is no file.")
    before = REGISTERED.registrations.get(name)
    registration = Registration(
        build,
        preset,
        None if stages is None else tuple(stages),
        classifier,
        path,
        n_prefix_tokens,
    )
    _keep(name, registration)
    try:
        backbone = load_backbone(name, in_channels=len(preset.mean))
        sizes = sizes_of(backbone, backbone.width())
    except BaseException:
        _keep(name, before)
        raise
    REGISTERED.registrations[name] = replace(registration, sizes=sizes)


def _check_arguments(name: Any, build: Any, stages: Any, weights: Any) -> None:
    """Raise for arguments of another kind than is asked for.

    Raises
    ------
    BackboneError
    """
    if not isinstance(name, str) or not name or name.startswith(PREFIX):
        raise BackboneError(
            f"name={name!r} can't be used: a text is needed that does not begin with {PREFIX!r}."
        )
    for title, source in SOURCES.items():
        if source is not REGISTERED and source.has(name):
            raise BackboneError(f"name={name!r} is a backbone of {title}. Use another name.")
    if isinstance(build, nn.Module) or not (callable(build) or isinstance(build, str | Path)):
        raise BackboneError(
            f"build must be a function that makes the network, such as its class, or the path of "
            f"an .onnx file; got an object of {type(build).__name__}. Use build=lambda: network "
            "for one that exists."
        )
    if isinstance(stages, str) or (stages is not None and not len(stages)):
        raise BackboneError(f"stages={stages!r} must be a list of names of submodules, or None.")
    if weights is not None and not isinstance(weights, str | Path):
        raise BackboneError(
            f"weights must be the path of a file with a state dict; got {type(weights).__name__}. "
            "Without it, the network keeps the weights with which build() makes it."
        )


def _check_alone(name: str, **others: Any) -> None:
    """Raise for arguments that have no meaning for a file of ONNX."""
    for argument, value in others.items():
        if value is not None:
            raise BackboneError(
                f"{argument}={value!r} can't be used, because {name} is a file of ONNX: it is one "
                f"stage, with its weights, from pictures to features. Leave {argument} out, or "
                "export the part of the network that makes the features."
            )


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
    if not isinstance(given, Mapping):
        raise BackboneError(f"preprocessing must be a dict; got {given!r:.80}.")
    unknown = set(given) - {*_REQUIRED, *_OPTIONAL}
    missing = [key for key in _REQUIRED if key not in given]
    if unknown or missing:
        raise BackboneError(
            f"preprocessing needs the keys {list(_REQUIRED)}, and may have {list(_OPTIONAL)}; "
            f"missing are {missing}, unknown {sorted(map(str, unknown))}."
        )
    try:
        mean, std = (tuple(map(float, given[key])) for key in ("mean", "std"))
    except (TypeError, ValueError):
        mean, std = (), ()
    # Values of 0 to 255 are another library's: they would make all pictures look alike.
    is_scaled = all(0 <= value <= 1 for value in mean) and all(0 < value <= 2 for value in std)
    if not mean or len(mean) != len(std) or not is_scaled:
        raise BackboneError(
            "preprocessing needs three numbers from 0 to 1 as mean, and three above 0 as std, at "
            "most 2, for pixels scaled to 0..1 (or one for each channel of a network that takes "
            f"other pictures); got {given['mean']!r} and {given['std']!r}."
        )
    size = given["image_size"]
    resize, interpolation = given.get("resize_size", size), given.get("interpolation", "bilinear")
    if not isinstance(size, Integral) or not isinstance(resize, Integral):
        raise BackboneError(
            f"preprocessing needs whole numbers of pixels; got image_size={size!r}, "
            f"resize_size={resize!r}."
        )
    size, resize = int(size), int(resize)
    if not 0 < size <= resize or interpolation not in RESAMPLING:
        raise BackboneError(
            f"preprocessing needs 0 < image_size <= resize_size, and an interpolation of "
            f"{list(RESAMPLING)}; got {size}, {resize} and {interpolation!r}."
        )
    return Preprocessing(resize, size, interpolation, mean, std)

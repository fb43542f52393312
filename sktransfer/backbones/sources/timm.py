"""Networks of timm (``pip install timm``), by ``timm/`` and timm's own name with its tag."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer._common.random import seeded
from sktransfer.backbones.graph_cuts import (
    are_close,
    check_pieces,
    cut_by_graph,
    neck_by_graph,
    one_stage,
)
from sktransfer.backbones.pooling import Pool
from sktransfer.backbones.sources.base import Sizes, Weights
from sktransfer.backbones.sources.download import cached_file, download
from sktransfer.backbones.sources.filling import check_values
from sktransfer.backbones.sources.hub import fetch_from_hub, hub_file, hub_url, in_hub_cache
from sktransfer.backbones.stages import CutNetwork
from sktransfer.backbones.tracing import Recorded
from sktransfer.exceptions import BackboneError, WeightsError
from sktransfer.images.preprocessing import Preprocessing

PREFIX = "timm/"


class Timm:
    """Networks and published weights of timm; it is imported when one of them is asked for."""

    # Two thousand names, which need the import of timm.
    is_listed, builds_for_a_size = False, True

    def names(self) -> tuple[str, ...]:
        names = _timm().list_models(pretrained=True)
        return tuple(PREFIX + name for name in names if _is_square(_configuration(name)))

    def has(self, name: str) -> bool:
        if not str(name).startswith(PREFIX):
            return False
        architecture, tag = _parts(name)
        newer = _timm().models.get_deprecated_models().get(architecture)
        if newer:  # timm would build it, with the preprocessing of another network
            raise BackboneError(f"{name} is an old name. Use {PREFIX}{newer}.")
        known = _timm().is_model(architecture)
        return known and (not tag or tag in _configurations(architecture))

    def known_sizes(self, name: str) -> Sizes:
        architecture, _ = _parts(name)
        return _sizes().get(architecture, Sizes(None, None))

    def published_weights(self, name: str) -> Mapping[str, Weights]:
        architecture, tag = _parts(name)
        published = {
            label: _weights(label, configuration)
            for label, configuration in _configurations(architecture).items()
            if configuration.has_weights
        }
        if tag and tag not in published:  # "DEFAULT" must not mean those of another tag
            return {}
        return {**({tag: published[tag]} if tag else {}), **published}

    def preprocessing(self, name: str) -> Preprocessing:
        return _preprocessing(_configuration(name))

    def at_hand(self, weights: Weights) -> bool:
        file = hub_file(str(weights.origin))
        return in_hub_cache(*file) if file else cached_file(weights).is_file()

    def fetch(self, name: str, weights: Weights) -> Path:
        file = hub_file(str(weights.origin))
        if file:
            return fetch_from_hub(name, *file)
        if _configuration(name, weights).custom_load:
            raise WeightsError(
                f"The weights {weights.label} of {name} are published in a format of their own "
                f"({weights.origin}). Use other weights, or a .safetensors or .pth file of them."
            )
        return download(name, weights)

    def build(self, name: str, num_classes: int, image_size: int | None) -> nn.Module:
        size = image_size or self.preprocessing(name).crop_size
        with _at_size(name, size):
            return _created(name, num_classes, size)

    def filled(
        self, name: str, weights: Weights, state: Mapping[str, Tensor]
    ) -> tuple[nn.Module, bool]:
        check_values(weights, state)
        errors: list[Exception] = []
        for num_classes, offset in _numbers_of_classes(_configuration(name, weights), state):
            try:
                return _loaded(name, weights, state, num_classes, offset), num_classes > 0
            # Of any type: timm's code for files of other names fails in its own ways.
            except Exception as error:
                errors.append(error)
        raise WeightsError(
            f"The weights {weights.label} are not those of {name}: {str(errors[0])[:300]}. Does "
            f"backbone={name!r} fit the file, and can the network have pictures of "
            f"image_size={weights.preprocessing.crop_size}?"
        ) from errors[0]

    def cut(self, name: str, network: Any, weights: Weights) -> CutNetwork:
        channels, size, _ = shape = weights.preprocessing.shape
        is_last = str(getattr(network, "output_fmt", "NCHW")) == "NHWC"
        heads = _as_list(network.pretrained_cfg.get("classifier"))
        pictures = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        with _at_size(name, size), torch.inference_mode():
            features = _whole(network, pictures)
            classifier = _classifier(network, features, network(pictures))
        try:
            maps, shape_of_map = cut_by_graph(
                network, _features, size, channels=channels, is_channels_last=is_last
            )
            neck = neck_by_graph(
                network, _pooled, shape_of_map, without=heads, is_channels_last=is_last
            )
            n_prefix = getattr(network, "num_prefix_tokens", None)
            pieces = CutNetwork(
                maps,
                [("neck", neck)],
                classifier,
                Pool("avg", n_prefix),
                has_class_token=getattr(network, "cls_token", None) is not None,
                n_prefix=n_prefix,
            )
            check_pieces(pieces, pictures, features)
        except BackboneError as error:
            pieces = one_stage(name, Recorded(network, _whole), classifier, error)
        return pieces


def _timm() -> Any:
    if find_spec("timm") is None:
        raise BackboneError(
            f"Backbones whose name begins with {PREFIX!r} need the package timm. Use: "
            'pip install "sktransfer[timm]"'
        )
    import timm

    return timm


def _parts(name: str) -> tuple[str, str]:
    """Architecture and tag: "vit_small_patch14_dinov2" and "lvd142m"."""
    architecture, _, tag = name.removeprefix(PREFIX).partition(".")
    return architecture, tag


@cache
def _sizes() -> Mapping[str, Sizes]:
    """Sizes of timm's networks, from a table: to build them all would take minutes."""
    lines = (Path(__file__).parent / "timm_sizes.csv").read_text().splitlines()
    rows = (line.split(",") for line in lines[1:])
    return {name: Sizes(int(parameters), int(features)) for name, parameters, features in rows}


@cache
def _configurations(architecture: str) -> Mapping[str, Any]:
    """What timm knows of an architecture's weights, by tag; its default is the first."""
    models = _timm().models
    configurations = models.get_arch_pretrained_cfgs(architecture)
    if not configurations:
        return {"": models.PretrainedCfg(architecture=architecture)}
    tags = [name.partition(".")[2] for name in configurations]
    return dict(zip(tags, configurations.values(), strict=True))


def _configuration(name: str, weights: Weights | None = None) -> Any:
    architecture, tag = _parts(name)
    of = _configurations(architecture)
    if weights is not None and weights.label in of:
        return of[weights.label]
    return of[tag] if tag else next(iter(of.values()))


def _weights(label: str, configuration: Any) -> Weights:
    repository, filename = configuration.hf_hub_id, configuration.hf_hub_filename
    return Weights(
        label,
        _preprocessing(configuration),
        origin=hub_url(repository, filename) if repository else configuration.url,
        license=configuration.license or "unknown",
    )


def _preprocessing(configuration: Any) -> Preprocessing:
    data = _timm().data.resolve_data_config(pretrained_cfg=configuration.to_dict())
    _, height, width = data["input_size"]
    if not _is_square(configuration):
        raise BackboneError(
            f"{PREFIX}{configuration.architecture} is for pictures of {height} x {width} pixels, "
            "and sktransfer makes squares. Use another backbone."
        )
    return Preprocessing(
        resize_size=math.floor(height / data["crop_pct"]),
        crop_size=height,
        interpolation=data["interpolation"],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        crop_mode=data["crop_mode"],
    )


@contextmanager
def _at_size(name: str, size: int) -> Iterator[None]:
    """Say that the size of pictures may be wrong, where timm's own code fails at it."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError, ZeroDivisionError) as error:
        raise BackboneError(
            f"{name} can't take pictures of image_size={size}: {error}. Use image_size=None for "
            "the size of its weights, or try a multiple of 32."
        ) from error


def _is_square(configuration: Any) -> bool:
    return bool(configuration.input_size[1] == configuration.input_size[2])


def _created(name: str, num_classes: int, image_size: int, **options: Any) -> Any:
    """The network for pictures of a size, in evaluation mode."""
    architecture, tag = _parts(name)
    if _configuration(name).fixed_input_size:
        options["img_size"] = image_size
    # Tags may stand for different networks: the name that timm builds by has one.
    full = f"{architecture}.{tag}" if tag else architecture
    return _timm().create_model(full, num_classes=num_classes, **options).eval()


def _loaded(
    name: str, weights: Weights, state: Mapping[str, Tensor], num_classes: int, offset: int
) -> Any:
    """The network with tensors that timm renames and interpolates as it needs them."""
    overlay = {
        "state_dict": dict(state),
        "num_classes": num_classes,
        "label_offset": offset,
        "custom_load": False,
    }
    size = weights.preprocessing.crop_size
    with seeded(0):  # timm draws weights before it loads others
        network = _created(name, num_classes, size, pretrained=True, pretrained_cfg_overlay=overlay)
    del network.pretrained_cfg["state_dict"]  # a second copy of all weights
    # For some networks timm loads what fits, and does not say what is missing.
    missing = _still_random(network, lambda: _created(name, num_classes, size), state)
    if missing:
        raise RuntimeError(f"{len(missing)} tensors are missing {missing[:3]}")
    return network


def _still_random(network: Any, build: Callable[[], Any], state: Mapping[str, Tensor]) -> list[str]:
    """Names of parameters that have the values which were drawn before loading."""
    # Those with a name that the file has were loaded. timm may have renamed others.
    names = {name for name, _ in network.named_parameters()} - set(state)
    values = network.state_dict()
    for seed, is_same in ((0, True), (1, False)):  # some are the same however they are drawn
        if names:
            with seeded(seed):
                drawn = build().state_dict()
            names = {key for key in names if torch.equal(values[key], drawn[key]) == is_same}
    return sorted(names)


def _numbers_of_classes(configuration: Any, state: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """Numbers of classes that a file may have, 0 for no classifier, and of those before them."""
    heads = [f"{head}.weight" for head in _as_list(configuration.classifier)]
    published, offset = configuration.num_classes, configuration.label_offset or 0
    for head in heads:
        if head in state:
            n_classes = len(state[head])
            return [(published, offset) if n_classes == published + offset else (n_classes, 0)]
    # Files of others than timm may have another name for the classifier.
    return [(0, 0)] if published == 0 else [(published, offset), (0, 0)]


def _as_list(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or [])


def _features(network: Any, x: Tensor) -> Any:
    return network.forward_features(x)


def _pooled(network: Any, x: Tensor) -> Any:
    return network.forward_head(x, pre_logits=True)


def _whole(network: Any, x: Tensor) -> Any:
    return _pooled(network, _features(network, x))


def _classifier(network: Any, features: Tensor, scores: Tensor) -> nn.Module:
    """The module from features to the network's scores; Identity where there is none such."""
    classifier = network.get_classifier()
    if not isinstance(classifier, nn.Linear) or classifier.in_features != features.shape[-1]:
        return nn.Identity()
    return classifier if are_close(classifier(features), scores) else nn.Identity()

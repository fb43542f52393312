"""A backbone: preprocessing and named stages, and the networks that are made of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from sktransfer._common.process_memory import tensor_bytes
from sktransfer.backbones.features import Normalise, TappedStages
from sktransfer.backbones.freezing import TrainableStages, freeze
from sktransfer.backbones.frozen import FrozenNetwork, state_digest
from sktransfer.backbones.pooling import OF_CLASS_TOKEN, POOLINGS, Pool
from sktransfer.backbones.stages import CutNetwork, NamedModules
from sktransfer.backbones.without_values import without_values
from sktransfer.exceptions import BackboneError
from sktransfer.images.preprocessing import Preprocessing


@dataclass(frozen=True)
class Stage:
    """A named part of a backbone.

    Parameters
    ----------
    name : str
    module : Module
    depth : int
        The smallest ``unfreeze_depth`` that trains this stage. Stages without weight
        matrices (a pooling, a normalisation) are not counted: they go with the nearest
        counted stage before them.
    """

    name: str
    module: nn.Module
    depth: int


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network cut into stages, frozen and shared by the whole process.

    Parameters
    ----------
    name : str
    pieces : CutNetwork
        Its modules are frozen in place.
    preprocessing : Preprocessing
    pretrained : bool
    has_classifier : bool
        False where the weights came without one.
    tensors : mapping of str to Tensor
        Those of the whole network under its own names, which the modules share: what a file must
        hold to make this backbone without its weights.
    """

    name: str
    pieces: CutNetwork
    preprocessing: Preprocessing
    pretrained: bool = False
    has_classifier: bool = False
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    # The same network is one object each time, so that an engine prepared for it is found again.
    _networks: dict[tuple[str, str, str], FrozenNetwork] = field(
        default_factory=dict, init=False, repr=False
    )
    # Widths already found: each takes a forward without values, some 70 ms.
    _widths: dict[tuple[str, str, int], int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        parts = [*self.pieces.maps, *self.pieces.neck]
        for module in (*(m for _, m in parts), self.pieces.classifier, self.pieces.pooling):
            freeze(module)

    @property
    def stages(self) -> list[Stage]:
        """All stages, from the picture to the input of the network's last Linear."""
        return _with_depths([*self.pieces.maps, *self.pieces.neck])

    def feature_stages(self, pooling: str = "native") -> list[Stage]:
        """The stages from the picture to its feature vector.

        A `pooling` other than "native" replaces the network's own and all that follows
        it, such as the first fully connected layers of VGG.
        """
        if pooling == "native":
            return self.stages
        return _with_depths([*self.pieces.maps, ("neck", self.pool(pooling))])

    def pool(self, pooling: str) -> nn.Module:
        """What makes a feature vector of a map or tokens.

        Raises
        ------
        BackboneError
            If this network can't be pooled so.
        """
        if pooling == "native":
            return self.pieces.pooling
        if not self.pieces.maps:
            raise BackboneError(
                f"pooling={pooling!r} can't be used: {self.name} is one stage, which ends with a "
                "vector. Use pooling='native'."
            )
        if pooling in OF_CLASS_TOKEN and not self.pieces.has_class_token:
            raise BackboneError(
                f"pooling={pooling!r} needs a class token, and {self.name} has none. Use one of "
                f"{[each for each in POOLINGS if each not in OF_CLASS_TOKEN]}."
            )
        return Pool(pooling, self.pieces.n_prefix)

    def feature_network(
        self, stage: str | Sequence[str] | None = None, pooling: str = "native"
    ) -> FrozenNetwork:
        """The frozen network from uint8 pixels (n, c, h, w) to features (n, width).

        Raises
        ------
        BackboneError
            If a stage is unknown, or "logits" is requested from weights without a classifier.
        """
        key = ("features", repr(stage), pooling)
        if key not in self._networks:
            stages = self.feature_stages(pooling)
            links = self._links(stages, pooling) if stage is None else self._tapped(stage, pooling)
            self._networks[key] = FrozenNetwork(links, backbone_name=self.name)
        return self._networks[key]

    def _tapped(self, stage: str | Sequence[str], pooling: str) -> NamedModules:
        """Links up to the first tap, and one link for the rest."""
        taps = [stage] if isinstance(stage, str) else list(stage)
        self._check_taps(taps)
        names = [s.name for s in self.stages]
        classifier, reads = None, ""
        if "logits" in taps:
            classifier = self.pieces.classifier
            reads = self.pieces.maps[-1][0] if self.pieces.reads_map else names[-1]
        # Stages before the first tap stay links of their own: their activations in the store then
        # serve every other network of this backbone.
        places = [names.index(tap if tap != "logits" else reads) for tap in taps]
        needed = self.stages[min(places) : max(places) + 1]
        tail = TappedStages(
            [(s.name, s.module) for s in needed], taps, self.pool(pooling), classifier, reads
        )
        name = f"{self.name} {self.pieces.code} {' '.join(taps)} {pooling}".replace("  ", " ")
        return [*self._links(self.stages[: min(places)]), (name, tail)]

    def _links(self, stages: Sequence[Stage], pooling: str = "native") -> NamedModules:
        """Normalisation and `stages`, under names that no other backbone gives them."""
        # A pooling has no weights: in a digest, only the name tells it from another one.
        n_maps = len(self.pieces.maps)
        name = f"{self.name} {self.pieces.code}".strip()
        named = [
            (f"{name} {s.name}" + (f" {pooling}" if i >= n_maps else ""), s.module)
            for i, s in enumerate(stages)
        ]
        # The first link has no backbone's name: backbones with the same preset share it.
        return [("normalise", Normalise(self.preprocessing)), *named]

    def _check_taps(self, taps: Sequence[str]) -> None:
        known = [s.name for s in self.stages]
        if not taps:
            raise BackboneError(f"stage=[] names no stage of {self.name}; the stages are {known}.")
        for tap in taps:
            if tap not in (*known, "logits"):
                raise BackboneError(
                    f"stage={tap!r} is not a stage of {self.name}. Use one or several of {known}, "
                    "'logits' for the pretrained classifier's scores, or None."
                )
        if len(set(taps)) < len(taps):
            raise BackboneError(f"stage={list(taps)} names a stage twice.")
        if "logits" in taps and not self.has_classifier:
            raise BackboneError(
                f"stage='logits' needs a pretrained classifier, and these weights of {self.name} "
                f"have none. Use other weights, or one of the stages {known}."
            )

    def split(
        self,
        unfreeze_depth: int | str,
        pooling: str = "native",
        *,
        fixed_statistics: bool | None = None,
    ) -> tuple[FrozenNetwork, TrainableStages]:
        """The part that stays frozen, and a copy of the part that trains.

        Running one after the other gives features. The frozen part is shared
        and reads uint8 pixels; with ``unfreeze_depth="all"`` it is empty, and the
        trainable part reads the pixels.

        Parameters
        ----------
        unfreeze_depth : int or "all"
        pooling : str
        fixed_statistics : bool, optional
            If True, BatchNorm statistics of the trainable part stay as they are. By default
            they do if the weights are pretrained.

        Raises
        ------
        BackboneError
            If the backbone has fewer stages than `unfreeze_depth`.
        """
        frozen, trainable = self._parts(unfreeze_depth, pooling)
        named = [(stage.name, stage.module) for stage in trainable]
        if not frozen:
            # Pixels are stored as uint8, a quarter of the memory of floats.
            named = [("normalise", freeze(Normalise(self.preprocessing))), *named]
        stages = TrainableStages(
            named,
            fixed_statistics=self.pretrained if fixed_statistics is None else fixed_statistics,
            pretrained=self.pretrained,
            depths={stage.name: stage.depth for stage in trainable},
        )
        return self.frozen_network(unfreeze_depth, pooling), stages

    def frozen_network(self, unfreeze_depth: int | str, pooling: str = "native") -> FrozenNetwork:
        """The frozen part of `split` alone, without a copy of the rest."""
        key = ("frozen", str(unfreeze_depth), pooling)
        if key not in self._networks:
            frozen, trainable = self._parts(unfreeze_depth, pooling)
            if not trainable:
                return self.feature_network(None, pooling)
            links = self._links(frozen, pooling) if frozen else []
            self._networks[key] = FrozenNetwork(links, backbone_name=self.name)
        return self._networks[key]

    def map_network(self, n_stages: int) -> FrozenNetwork:
        """The frozen network from pixels to the output of the first `n_stages` stages."""
        key = ("maps", str(n_stages), "")
        if key not in self._networks:
            links = self._links(self.stages[:n_stages])
            self._networks[key] = FrozenNetwork(links, backbone_name=self.name)
        return self._networks[key]

    def deepest(self, pooling: str = "native") -> int:
        """The largest number of stages that can train."""
        stages = self.feature_stages(pooling)
        return max((s.depth for s in stages if any(True for _ in s.module.parameters())), default=0)

    def _parts(self, unfreeze_depth: int | str, pooling: str) -> tuple[list[Stage], list[Stage]]:
        """The stages that stay frozen, and those that train."""
        stages, deepest = self.feature_stages(pooling), self.deepest(pooling)
        depth = deepest if unfreeze_depth == "all" else int(unfreeze_depth)
        if deepest == 0 and unfreeze_depth != 0:
            raise BackboneError(
                f"unfreeze_depth={unfreeze_depth!r} can't be used: {self.name} has no weights that "
                "could train, as a file of ONNX has none. Use unfreeze_depth=0."
            )
        if depth > deepest:
            raise BackboneError(
                f"unfreeze_depth={unfreeze_depth} is more than {self.name} has with "
                f"pooling={pooling!r}: use 0 to {deepest}, or 'all'."
            )
        first = next((i for i, s in enumerate(stages) if s.depth <= depth), len(stages))
        return stages[:first], stages[first:]

    def width(
        self,
        stage: str | Sequence[str] | None = None,
        pooling: str = "native",
        image_size: int | None = None,
    ) -> int:
        """Number of features of `feature_network`, found without computing them.

        Raises
        ------
        BackboneError
            If a stage is unknown, or the network can't take pictures of `image_size`.
        """
        size = image_size or self.preprocessing.crop_size
        key = (repr(stage), pooling, size)
        if key not in self._widths:
            self._widths[key] = self._measured_width(self.feature_network(stage, pooling), size)
        return self._widths[key]

    def _measured_width(self, network: nn.Module, size: int) -> int:
        channels = len(self.preprocessing.mean)
        # A network of one stage may need values: it could not be recorded without them.
        device = "meta" if self.pieces.maps else "cpu"
        pixels = torch.zeros(1, channels, size, size, dtype=torch.uint8, device=device)
        if self.pieces.maps:
            network = without_values(network)
        try:
            with torch.inference_mode():
                features: Tensor = network(pixels)
        except BackboneError:
            raise
        except (RuntimeError, AssertionError, ValueError) as error:
            usual = self.preprocessing.crop_size
            raise BackboneError(
                f"{self.name} can't take pictures of image_size={size}: {error}. Its usual size "
                f"is {usual}; use image_size=None for that, or try a larger one."
            ) from error
        return int(features.shape[1])

    def n_bytes(self) -> int:
        """Memory that all stages and the classifier take."""
        return tensor_bytes(*(stage.module for stage in self.stages), self.pieces.classifier)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that determines the features and the classifier's scores."""
        sha = hashlib.sha256(f"{self.name} {self.preprocessing}{self.pieces.code}".encode())
        for stage in self.stages:
            sha.update(stage.name.encode() + state_digest(stage.module))
        if self.has_classifier:  # else its tensors may be without values
            sha.update(state_digest(self.pieces.classifier))
        return sha.hexdigest()


def _with_depths(named: NamedModules) -> list[Stage]:
    # Stages without weight matrices are not counted: depth 1 of ConvNeXt would otherwise train
    # a single normalisation.
    depth, stages = 0, []
    for name, module in reversed(named):
        counted = any(parameter.ndim > 1 for parameter in module.parameters())
        stages.append(Stage(name, module, depth + 1))
        depth += counted
    return stages[::-1]

"""What a fit decides by itself: how pictures become squares, and how many stages train.

Each is as given, as decided by an earlier fit that this one continues, or decided now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sktransfer._common.left_behind import temporary_folder
from sktransfer.activations.progress import tell
from sktransfer.activations.results import Known
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.estimators.checked_input import CheckedInput
from sktransfer.estimators.fitted import Architecture, FittedModel
from sktransfer.estimators.fitted_backbone import FittedBackbone, RunOptions
from sktransfer.estimators.training_data import split_network
from sktransfer.selection.decision import Decision
from sktransfer.selection.depth import DEEPEST, Cut, DepthChoice, choose_depth
from sktransfer.selection.pictures import LabelledPictures
from sktransfer.selection.resize import ResizeChoice, choose_resize
from sktransfer.selection.scores import Score


@dataclass(frozen=True)
class Choices:
    """The choices of a fit, and their evidence.

    Parameters
    ----------
    resize : {"crop", "squash", "pad"}
    resize_scores : mapping of str to Score, or None
    unfreeze_depth : int or "all"
    depth_scores : mapping of int to Score, or None
    known : Known or None
        Activations of some pictures, by these choices.
    """

    resize: str
    resize_scores: Mapping[str, Score] | None
    unfreeze_depth: int | str
    depth_scores: Mapping[int, Score] | None
    known: Known | None


def decided(
    classifier: Any, given: CheckedInput, earlier: FittedModel | None, backbone: FittedBackbone
) -> Choices:
    """Decide what the parameters of a classifier leave open.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
    given : CheckedInput
    earlier : FittedModel or None
        The fit that this one continues, whose choices stay.
    backbone : FittedBackbone
        With any `resize`.
    """
    resize, resize_scores = classifier.resize, None
    depth, depth_scores = given.architecture.unfreeze_depth, None
    if earlier is not None:
        if resize == "auto":
            resize = earlier.backbone.preprocessing.resize
            resize_scores = earlier.resize_scores
        if classifier.unfreeze_depth == "auto":
            depth_scores = earlier.depth_scores
    pictures = LabelledPictures(
        given.images, given.labels.y, given.weights, given.split.train, given.groups
    )
    known = None
    with _options(classifier, shared=depth == "auto") as options:
        if resize == "auto":
            squares = _chosen_resize(classifier, given, pictures, backbone, options)
            resize, resize_scores, known = squares.resize, squares.scores, squares.known
            _tell(classifier, Decision("resize", resize, resize_scores))
        if depth == "auto":
            deep = _chosen_depth(given, pictures, backbone.resized(resize), options)
            depth, depth_scores, known = deep.depth, deep.scores, deep.known
            _tell(classifier, Decision("unfreeze_depth", depth, depth_scores))
    return Choices(resize, resize_scores, depth, depth_scores, known)


def _tell(classifier: Any, decision: Decision) -> None:
    if classifier.verbose:
        tell(str(decision))


def _chosen_resize(
    classifier: Any,
    given: CheckedInput,
    pictures: LabelledPictures,
    backbone: FittedBackbone,
    options: RunOptions,
) -> ResizeChoice:
    architecture = _deepest(given.architecture, backbone)
    frozen, stages = split_network(architecture, backbone)
    one_pass = backbone.frozen_pass(frozen, options, "Comparing resize")
    return choose_resize(
        *(pictures, one_pass, stages, given.settings),
        activations_are_used=classifier.augment is None,
    )


def _chosen_depth(
    given: CheckedInput, pictures: LabelledPictures, backbone: FittedBackbone, options: RunOptions
) -> DepthChoice:
    deepest, network = _deepest(given.architecture, backbone), backbone.reference.get()

    def frozen(depth: int) -> FrozenNetwork:
        return network.frozen_network(depth, deepest.pooling)

    def stages(depth: int) -> TrainableStages:
        return split_network(replace(deepest, unfreeze_depth=depth), backbone)[1]

    depth = int(deepest.unfreeze_depth)
    stages(depth)  # raises if the network can't take these pictures, before any is read
    one_pass = backbone.frozen_pass(frozen(depth), options, "Running frozen stages")
    return choose_depth(pictures, one_pass, Cut(frozen, stages), depth, given.settings)


def _deepest(architecture: Architecture, backbone: FittedBackbone) -> Architecture:
    """The deepest candidate of "auto", which not every backbone has; else as it is."""
    if architecture.unfreeze_depth != "auto":
        return architecture
    depth = min(DEEPEST, backbone.reference.get().deepest(architecture.pooling))
    return replace(architecture, unfreeze_depth=depth)


@contextmanager
def _options(classifier: Any, *, shared: bool) -> Iterator[RunOptions]:
    """Options of passes; with `shared`, each finds what the others have computed."""
    options = classifier._run_options()
    if options.cache is not None or not shared:
        yield options
        return
    with temporary_folder() as folder:
        yield replace(options, cache=folder)

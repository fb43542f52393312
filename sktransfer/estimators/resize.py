"""How the pictures of a fit become squares: as given, as chosen before, or as chosen now."""

from __future__ import annotations

from sktransfer.activations.progress import tell
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.estimators.checked_input import CheckedInput
from sktransfer.estimators.fitted import FittedModel
from sktransfer.selection.decision import Decision
from sktransfer.selection.pictures import LabelledPictures
from sktransfer.selection.resize import ResizeChoice, choose_resize


def decided_resize(
    resize: str,
    given: CheckedInput,
    earlier: FittedModel | None,
    one_pass: FrozenPass,
    stages: TrainableStages,
    *,
    augmented: bool,
) -> ResizeChoice:
    """The way that the parameter names; with "auto" that of the earlier fit, or a choice.

    Parameters
    ----------
    resize : {"auto", "crop", "squash", "pad"}
    given : CheckedInput
    earlier : FittedModel or None
        The fit that this one continues, which has seen pictures in one way.
    one_pass : FrozenPass
    stages : TrainableStages
    augmented : bool
        True if the fit trains on augmented views.
    """
    if resize != "auto":
        return ResizeChoice(resize)
    if earlier is not None:
        return ResizeChoice(earlier.backbone.preprocessing.resize, earlier.resize_scores)
    pictures = LabelledPictures(
        given.images, given.labels.y, given.weights, given.split.train, given.groups
    )
    choice = choose_resize(
        pictures, one_pass, stages, given.settings, activations_are_used=not augmented
    )
    if given.settings.verbose:
        tell(str(Decision("resize", choice.resize, choice.scores)))
    return choice

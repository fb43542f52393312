"""Learning rate, weight decay and number of epochs by default; a warning if epochs were too few."""

import math
from collections.abc import Sequence

from sktransfer._common.warning import warn
from sktransfer.exceptions import ShortTrainingWarning

# Learning rates of AdamW. A random head on fixed features has everything to learn, and the higher
# rate suits it. Solved heads and pretrained stages would unlearn at that rate: linear heads with
# mixup lost 4 points of accuracy.
_RATE, _RATE_AT_RANDOM = 3e-4, 3e-3
# A head that is solved with the first penalty fits some hundred training rows so well that its
# loss is near 0. Stages that train then have next to nothing to learn, and what moves them is
# noise: Adam's first steps move every weight by the rate, however small its gradient is, and the
# features of all rows in one direction, away from the head. The second penalty leaves the stages
# something to learn, and the third holds features that the labels do not move near their start.
_DECAY, _DECAY_BEFORE_STAGES, _FEATURE_PENALTY = 1e-4, 1e-2, 1e-2
# An epoch of few pictures has few steps, and ten such epochs teach a random head little. Its steps
# cost next to nothing on stored features, so there are as many epochs as make 1,000 steps.
_EPOCHS, _STEPS_AT_RANDOM = 10, 1000
# Training was too short if the loss is still above the first share of chance loss, and the second
# half of the epochs lowered it by more than noise (the second share of chance loss) and by more
# than the third share of all that was learned. Of 150 heads on the data on which this was chosen,
# 89 warned: 2 within 0.01 of the most accurate one, the others up to 0.61 behind. 17 stayed
# silent although they had learned next to nothing (0.15 to 0.76 behind, all but one at a rate of
# 3e-5): so slow a fall can't be told from noise.
_MUCH_LEFT = 0.1
_NOISE = 0.01
_STILL_FALLING = 0.1


def learning_rate(lr: float | str, *, at_random: bool = False) -> float:
    """The learning rate of the head: the given one, or the meaning of "auto".

    Parameters
    ----------
    lr : float or "auto"
    at_random : bool, default=False
        The head begins at random and trains alone.
    """
    if not isinstance(lr, str):
        return lr
    return _RATE_AT_RANDOM if at_random else _RATE


def decay(weight_decay: float | str, *, before_stages: bool = False) -> float:
    """The weight decay, or the penalty of a solved head: the given one, or the meaning of "auto".

    Parameters
    ----------
    weight_decay : float or "auto"
    before_stages : bool, default=False
        It is that of a head with which stages will train. A head that is less sure of its rows
        leaves the stages more to learn: Ren et al., "How to Prepare Your Task Head for
        Finetuning", ICLR 2023, section 4.
    """
    if not isinstance(weight_decay, str):
        return weight_decay
    return _DECAY_BEFORE_STAGES if before_stages else _DECAY


def feature_penalty(penalty: float | str, *, pretrained: bool) -> float:
    """The penalty on the movement of features: the given one, or the meaning of "auto".

    Parameters
    ----------
    penalty : float or "auto"
    pretrained : bool
        Pretrained stages train with a head that has learned from their features.
    """
    if not isinstance(penalty, str):
        return penalty
    return _FEATURE_PENALTY if pretrained else 0.0


def epochs(max_epochs: int | str, n_batches: int | None = None) -> int:
    """The number of epochs: the given one, or the meaning of "auto".

    Parameters
    ----------
    max_epochs : int or "auto"
    n_batches : int, optional
        Steps per epoch, for a head that begins at random and trains alone on stored features.
    """
    if not isinstance(max_epochs, str):
        return max_epochs
    return _EPOCHS if n_batches is None else max(_EPOCHS, math.ceil(_STEPS_AT_RANDOM / n_batches))


def warn_if_short(losses: Sequence[float], chance_loss: float) -> None:
    """Warn if training ended while the loss still fell fast.

    Halves of the training are compared, not its last epochs: where a schedule lowers the rate to
    0, the last epochs gain nothing, however far from its minimum the loss is.

    Parameters
    ----------
    losses : sequence of float
        The training loss of each epoch.
    chance_loss : float
        The loss of a model that has learned nothing; see `TransferNet.chance_loss`.
    """
    if len(losses) < 2:  # one number doesn't fall
        return
    middle = (len(losses) + 1) // 2
    half, end = min(losses[:middle]), min(losses[middle:])
    learned = max(chance_loss, losses[0]) - end
    much = max(_NOISE * chance_loss, _STILL_FALLING * learned)
    if end > _MUCH_LEFT * chance_loss and half - end > much:
        warn(
            f"Training ended after {len(losses)} epochs while the loss still fell: in the second "
            f"half of them from {half:.3g} to {end:.3g}. Increase max_epochs; "
            "find_lr shows whether a higher lr would do.",
            ShortTrainingWarning,
        )

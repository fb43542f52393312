"""How fast and how long training goes where the user leaves it open, and if that sufficed."""

import math
from collections.abc import Sequence

from sktransfer._common.warning import warn
from sktransfer.exceptions import ShortTrainingWarning

# Of AdamW. A head that begins at random, on features that stay as they are, has all to learn
# and can go fast. What is solved or pretrained would lose at that rate what it knows: linear
# heads with mixup lost 4 points.
_RATE, _RATE_AT_RANDOM = 3e-4, 3e-3
# What an epoch can teach depends on its steps, and few pictures make few. Those of a head on
# stored features cost next to nothing, so that there may be enough of them.
_EPOCHS, _STEPS_AT_RANDOM = 10, 1000
# Training was too short if much is left to learn, as a share of the loss of who knows nothing,
# and the second half of the epochs taught more than noise (a share of the same), and much of
# all that was learned. Of 150 heads on the data on which this was chosen, 89 warned: 2 within
# 0.01 of the most accurate, the others up to 0.61 behind. 17 stayed silent although they had
# learned next to nothing (0.15 to 0.76 behind, at 3e-5 but one): such a fall is as small as noise.
_MUCH_LEFT = 0.1
_NOISE = 0.01
_STILL_FALLING = 0.1


def learning_rate(lr: float | str, *, at_random: bool) -> float:
    """What ``lr="auto"`` means; a number is what it is.

    Parameters
    ----------
    lr : float or "auto"
    at_random : bool
        Whether it is that of a head that begins at random and trains alone.
    """
    if not isinstance(lr, str):
        return lr
    return _RATE_AT_RANDOM if at_random else _RATE


def epochs(max_epochs: int | str, n_batches: int | None = None) -> int:
    """What ``max_epochs="auto"`` means; a number is what it is.

    Parameters
    ----------
    max_epochs : int or "auto"
    n_batches : int, optional
        Steps an epoch of a head that begins at random and trains alone, on stored features.
    """
    if not isinstance(max_epochs, str):
        return max_epochs
    return _EPOCHS if n_batches is None else max(_EPOCHS, math.ceil(_STEPS_AT_RANDOM / n_batches))


def warn_if_short(losses: Sequence[float], knowing_nothing: float) -> None:
    """Warn if training ended while the loss still fell fast.

    Under a schedule that falls to 0 the last epochs gain nothing however far the goal is, so
    that halves are compared.

    Parameters
    ----------
    losses : sequence of float
        Of each epoch, in training.
    knowing_nothing : float
        The loss of scores that are all 0.
    """
    if len(losses) < 2:  # one number doesn't fall
        return
    middle = (len(losses) + 1) // 2
    half, end = min(losses[:middle]), min(losses[middle:])
    learned = max(knowing_nothing, losses[0]) - end
    much = max(_NOISE * knowing_nothing, _STILL_FALLING * learned)
    if end > _MUCH_LEFT * knowing_nothing and half - end > much:
        warn(
            f"Training ended after {len(losses)} epochs while the loss still fell: in the second "
            f"half of them from {half:.3g} to {end:.3g}. Increase max_epochs; "
            "find_lr tells whether a higher lr would do.",
            ShortTrainingWarning,
        )

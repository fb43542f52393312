"""How to train: the parameters of the classifier that training uses, all of them given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sktransfer.training.losses import Loss
from sktransfer.training.pace import decay, epochs
from sktransfer.training.task import Task


class Piece(NamedTuple):
    """One call to `partial_fit`, with an unknown number of calls to follow.

    Parameters
    ----------
    weight : float
        Mean weight of the rows of this piece. `Rows` have a mean weight of 1, and without it
        pieces of light and of heavy rows would count the same.
    optimizer_state : mapping or None
        State of the optimizer after the piece before, by the number of each parameter.
    """

    weight: float
    optimizer_state: Mapping[int, Any] | None


@dataclass(frozen=True)
class TrainingSettings:
    """How `train` trains.

    No field has a default. The defaults are those of `PretrainedImageClassifier`; a second set
    would sooner or later differ from them.

    Parameters
    ----------
    task : Task
    n_classes : int
    loss : Loss
    positive_weight : sequence of n_classes floats, or None
        Weight of the presence of each label relative to its absence, for several labels.
    device : str
        A device of torch, such as "cpu" or "cuda:1".
    seed : int
        Seed of all that training draws.
    piece : Piece or None
        None in `fit`, which gets all rows at once.
    **others
        See `PretrainedImageClassifier`.
    """

    task: Task
    n_classes: int
    loss: Loss
    label_smoothing: float
    positive_weight: Sequence[float] | None
    distill_weight: float
    distill_temperature: float
    hidden_layer_sizes: Sequence[int]
    dropout: float
    sampling: str | None
    mixup: float
    cutmix: float
    optimizer: str | Callable[..., Any]
    lr: float | str
    lr_decay: float
    weight_decay: float | str
    feature_penalty: float | str
    schedule: str | Callable[..., Any] | None
    gradient_clipping: float | None
    ema_decay: float | None
    max_epochs: int | str
    batch_size: int
    head_init: str
    gradual_unfreezing: bool | Sequence[int]
    early_stopping: bool
    n_iter_no_change: int
    callbacks: Sequence[Any]
    precision: str
    checkpoint_dir: Path | None
    device: str
    seed: int
    verbose: int
    piece: Piece | None

    def for_a_piece(
        self, optimizer_state: Mapping[int, Any] | None, weight: float = 1.0
    ) -> "TrainingSettings":
        """The settings of one call to `partial_fit`.

        They ask for one epoch, since the caller decides how often each row is used, and for no
        schedule, which would need to know how many calls follow. A convex problem is still solved
        to the end, near the solution of the pieces before.

        Parameters
        ----------
        optimizer_state, weight
            See `Piece`.
        """
        return replace(
            self,
            max_epochs=1,
            schedule=None,
            piece=Piece(weight, optimizer_state),
        )

    def for_the_head_alone(self) -> "TrainingSettings":
        """The settings by which a head is trained on fixed features, before its stages train.

        A small `max_epochs` is meant to limit fine-tuning, and must not leave the head half
        solved. The user's callbacks are for the last phase alone, as their documentation says.
        """
        asked = self.max_epochs
        return replace(
            self,
            max_epochs=asked if isinstance(asked, str) else max(asked, epochs("auto")),
            cutmix=0.0,  # it pastes parts of maps, and features have no height and width
            gradual_unfreezing=False,
            callbacks=(),
            # The state belongs to the parameters of head and stages together.
            piece=self.piece and self.piece._replace(optimizer_state=None),
        )

    def for_a_trial(self) -> "TrainingSettings":
        """The settings of a training that is judged and thrown away."""
        of_a_fit: dict[str, Any] = {}
        if self.piece is not None:  # its one epoch can't tell what all pieces will teach
            of_a_fit = {"piece": None, "max_epochs": "auto", "schedule": "cosine"}
        return replace(
            self,
            **of_a_fit,
            gradual_unfreezing=False,
            callbacks=(),
            checkpoint_dir=None,
            verbose=0,
        )

    def for_a_solved_head(self, *, before_stages: bool) -> "TrainingSettings":
        """The settings with the penalty of a head that is solved, alone or before stages train."""
        return replace(self, weight_decay=decay(self.weight_decay, before_stages=before_stages))

"""Losses, one value per row: the table of names, classes of torch's, and a teacher's loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer.exceptions import ParameterError
from sktransfer.training.task import OneLabel, SeveralLabels, Task

# Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, table 1b: best at 2.
_GAMMA = 2.0


@dataclass(frozen=True)
class Loss:
    """A loss as the library knows it: how it is computed, and where it can be used.

    A new loss is a new entry of `LOSSES`, since all other code asks the record and compares no
    name. What the loss can be used for follows from its functions, and can't contradict them.

    Parameters
    ----------
    name : str
    softmax : callable, optional
        Function for classes that exclude each other: from scores (n, k), targets (as `Targets.y`)
        and label smoothing to losses (n,). Without it the loss is always one-vs-rest.
    sigmoid : callable, optional
        Function for classes that are each told apart from all others: the same, with the weight
        of the presence of each class, (k,) or None, as a fourth argument. Without it the loss is
        for one label per picture only.
    convex : bool, default=False
        The loss is convex in the scores, so that a linear head has one best solution.
    built_by : callable, optional
        The user's class, called with ``reduction="none"``, in place of both functions. Whether it
        is convex is unknown, and so it is taken not to be.
    """

    name: str
    softmax: Any = None
    sigmoid: Any = None
    convex: bool = False
    built_by: Any = None

    @property
    def one_vs_rest(self) -> bool:
        """Scores go through sigmoids rather than softmax, even with one label per picture."""
        return self.softmax is None and self.built_by is None

    @property
    def multilabel(self) -> bool:
        """The loss can be used where a picture may have several labels."""
        return self.sigmoid is not None or self.built_by is not None

    def task(self, *, multilabel: bool) -> Task:
        """The task of scores that are trained with this loss."""
        return SeveralLabels() if multilabel else OneLabel(self.one_vs_rest)


def _cross_entropy(scores: Tensor, y: Tensor, smoothing: float) -> Tensor:
    if not y.is_floating_point():  # torch takes codes, without a share for every class
        return functional.cross_entropy(scores, y, reduction="none", label_smoothing=smoothing)
    shares = _smoothed(y, scores, smoothing, 1 / scores.shape[1])
    return (shares * -functional.log_softmax(scores, dim=1)).sum(dim=1)


def _focal(scores: Tensor, y: Tensor, smoothing: float) -> Tensor:
    shares = _smoothed(y, scores, smoothing, 1 / scores.shape[1])
    losses = -functional.log_softmax(scores, dim=1)
    losses = losses * (1 - scores.softmax(dim=1)) ** _GAMMA
    return (shares * losses).sum(dim=1)


def _binary_cross_entropy(
    scores: Tensor, y: Tensor, smoothing: float, positive_weight: Tensor | None
) -> Tensor:
    shares = _smoothed(y, scores, smoothing, 0.5)
    # The sum over classes is the negative log-likelihood of all labels. A mean would make the
    # loss smaller, and weight_decay stronger beside it, the more classes there are.
    return _binary(scores, shares, positive_weight).sum(dim=1)


def _binary_focal(
    scores: Tensor, y: Tensor, smoothing: float, positive_weight: Tensor | None
) -> Tensor:
    shares = _smoothed(y, scores, smoothing, 0.5)
    losses = _binary(scores, shares, positive_weight)
    # For targets between 0 and 1: Li et al., "Generalized Focal Loss", NeurIPS 2020, eq. 3.
    return (losses * (shares - scores.sigmoid()).abs() ** _GAMMA).sum(dim=1)


def _binary(scores: Tensor, shares: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    return functional.binary_cross_entropy_with_logits(
        scores, shares, pos_weight=positive_weight, reduction="none"
    )


def _smoothed(y: Tensor, scores: Tensor, smoothing: float, even: float) -> Tensor:
    """Targets as shares (n, k), moved by `smoothing` towards the share `even`."""
    shares = as_shares(y, scores.shape[1]).to(scores)
    return shares * (1 - smoothing) + even * smoothing


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", softmax=_cross_entropy, convex=True),
        Loss("binary_cross_entropy", sigmoid=_binary_cross_entropy, convex=True),
        Loss("focal", softmax=_focal, sigmoid=_binary_focal),
    )
}


def as_loss(given: str | Callable[..., Any]) -> Loss:
    """The record of a loss, for a name or a class of the user's.

    It never raises, since tags are read before parameters are validated. What is neither a name
    nor a class fails where the loss is built, with an error that names the parameter.
    """
    if isinstance(given, str) and given in LOSSES:
        return LOSSES[given]
    # Not `repr`, which holds an address in memory: in another process the same fit would look like
    # another one, and not continue from its checkpoint.
    name = getattr(given, "__qualname__", type(given).__qualname__)
    return Loss(name, built_by=given)


def convex_loss(loss: Loss, task: Task) -> Loss:
    """The loss by which L-BFGS solves a linear head: the given one, if it is convex.

    Otherwise there need not be one best solution. The cross-entropy of the task then gives a head
    from which gradient descent continues with the loss itself.
    """
    if loss.convex:
        return loss
    return LOSSES["binary_cross_entropy" if task.one_vs_rest else "cross_entropy"]


class Targets(NamedTuple):
    """The targets of the rows of a batch.

    Parameters
    ----------
    y : Tensor
        Class codes (n,), int64, or a share of every class (n, k), float: an indicator of several
        labels, or the mean of two rows that were mixed.
    weights : Tensor of shape (n,)
        Weight of each row in the loss.
    teacher : Tensor of shape (n, k) or None
        A teacher's probabilities, softened by a temperature.
    start : Tensor of shape (n, n_features) or None
        Features of the rows before training, near which they are held.
    """

    y: Tensor
    weights: Tensor
    teacher: Tensor | None = None
    start: Tensor | None = None

    def to(self, device: torch.device | str) -> "Targets":
        """The same targets on a device."""
        return self._each(lambda part: part.to(device))

    def taken(self, rows: Any) -> "Targets":
        """The targets of some rows."""
        return self._each(lambda part: part[rows])

    def _each(self, of: Callable[[Tensor], Tensor]) -> "Targets":
        optional = (None if part is None else of(part) for part in (self.teacher, self.start))
        return Targets(of(self.y), of(self.weights), *optional)


class RowLoss(nn.Module):
    """The loss of each row, with a share of the distance to a teacher.

    Parameters
    ----------
    loss : Loss
        Of the labels.
    task : Task
        What the scores mean.
    label_smoothing : float, default=0.0
        Share of the target that is spread evenly over the classes.
    positive_weight : sequence of k floats, optional
        Weight of the presence of each label relative to its absence, for multilabel targets.
    distill_weight : float, default=0.0
        Share of the teacher's loss, where targets have a teacher.
    distill_temperature : float, default=1.0
        Divides the scores in the teacher's loss.
    """

    positive_weight: Tensor | None

    def __init__(
        self,
        loss: Loss,
        task: Task,
        *,
        label_smoothing: float = 0.0,
        positive_weight: Sequence[float] | None = None,
        distill_weight: float = 0.0,
        distill_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.task = task
        self.label_smoothing = label_smoothing
        weight = None if positive_weight is None else torch.tensor(positive_weight)
        self.register_buffer("positive_weight", weight)
        self.distill_weight = distill_weight
        self.distill_temperature = distill_temperature
        # A module within this one, so that its own tensors move to the device too.
        self.built = None if loss.built_by is None else _built(loss.built_by)

    def forward(self, scores: Tensor, targets: Targets) -> Tensor:
        """Losses of shape (n,) for scores of shape (n, k)."""
        losses = self._of_labels(scores, targets.y)
        if targets.teacher is None:
            return losses
        teachers = self._of_teacher(scores, targets.teacher.to(scores))
        return (1 - self.distill_weight) * losses + self.distill_weight * teachers

    def _of_labels(self, scores: Tensor, y: Tensor) -> Tensor:
        if self.built is not None:
            return _one_per_row(self.built(scores, y.to(scores) if y.ndim > 1 else y), self.built)
        if self.task.one_vs_rest:
            of_presence = self.label_smoothing, self.positive_weight
            losses: Tensor = self.loss.sigmoid(scores, y, *of_presence)
        else:
            losses = self.loss.softmax(scores, y, self.label_smoothing)
        return losses

    def _of_teacher(self, scores: Tensor, teacher: Tensor) -> Tensor:
        """Cross-entropy of two softened distributions, on the scale of an ordinary loss.

        Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
        2015, section 2, with its factor of the squared temperature.
        """
        soft = scores / self.distill_temperature
        if self.task.one_vs_rest:
            losses = _binary(soft, teacher)
        else:
            losses = -teacher * soft.log_softmax(dim=1)
        return losses.sum(dim=1) * self.distill_temperature**2


def as_shares(y: Tensor, n_classes: int) -> Tensor:
    """Class codes as one share of 1 per row; shares as they are."""
    return y if y.ndim > 1 else functional.one_hot(y, n_classes).float()


def _built(loss: Callable[..., Any]) -> nn.Module:
    try:
        built: Any = loss(reduction="none")
    except TypeError as error:
        raise ParameterError(
            f"loss={loss!r} can't be used: it must be a name from {list(LOSSES)} or a class that "
            f"is called with reduction='none', as torch.nn's losses are ({error})."
        ) from error
    return built


def _one_per_row(losses: Tensor, loss: nn.Module) -> Tensor:
    if losses.ndim == 0:
        raise ParameterError(
            f"loss={type(loss).__name__} gave one value for a whole batch: with reduction='none' "
            "it must give at least one per row, or class_weight and sample_weight have no effect."
        )
    # Classes of several labels give one value per label; they are summed as in our own losses.
    return losses.flatten(1).sum(dim=1) if losses.ndim > 1 else losses

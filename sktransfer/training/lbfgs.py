"""L-BFGS for the convex problem: a linear head on frozen features."""

from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, EarlyStopping, PassthroughScoring
from torch import Tensor, nn

from sktransfer._common.warning import warn
from sktransfer.training.batches import Rows, all_batches
from sktransfer.training.callbacks import SCORING, silent
from sktransfer.training.head import NormalisedLinear, mean_and_length
from sktransfer.training.net import TransferNet

# An epoch is this many iterations (torch's default). Training stops when a whole epoch lowers the
# objective by less than the first share; a warning follows if the last epoch of `max_epochs` still
# lowered it by more than the second.
_ITERATIONS = 20
_CONVERGED = 1e-7
_STILL_FALLING = 1e-2
# Below this no prediction changes any more. The objective of a single class falls without end.
_NOTHING_LEFT = 1e-6
# L-BFGS keeps torch's 100 pairs of steps and gradients, or fewer where 100 would take more bytes
# than this (they took 2 GB at 1,000 classes of 1,280 features), down to scikit-learn's 10. All
# give the same labels; 10 or 20 pairs need up to 1.7 times the evaluations of 100.
_HISTORY_BYTES = 2**28
_MOST_PAIRS, _FEWEST_PAIRS = 100, 10
# Penalty on moving the weights (for rows of length 1), and on moving the biases, per row of earlier
# pieces, all classes together; the usual penalty on weights comes on top. Chosen on digits, photos
# of imagenet_samples and half of cifar10_subset: with 10 classes, a third or three times as much
# for the weights, or ten times as much for the biases, was no better on average; a tenth for the
# biases cost 0.4 to 1.6 points. With more classes each row says less about one of them, and holds
# it less. Judged on clip-art, ants_bees and the other half, pieces of 32 rows end within a point
# and 0.03 of log loss of a fit on all rows (`python -m benchmarks.pieces`).
_HELD_WEIGHTS = 3e-3
_HELD_BIASES = 0.1
# At least so many rows hold the biases. That of a class which the first piece lacks would fall
# without end, and AdamW, which may continue from there, would never bring it back.
_ROWS_THAT_HOLD = 1.0
# Rows that are computed at once: few enough to copy to float64, many enough to be fast.
_ROWS_AT_ONCE = 1024


def solve(
    rows: Rows,
    n_classes: int,
    *,
    weight_decay: float,
    begin_like: NormalisedLinear | None,
    callbacks: list[tuple[str, Callback]],
    piece_weight: float | None = None,
    **common: Any,
) -> TransferNet:
    """Solve a linear head by L-BFGS on all rows, in float64, with no learning rate to choose.

    The rows of a piece are solved near the solution of earlier pieces: the more rows it was
    learned from, the less it moves. Features are many, and rows lie far apart in them, so that
    a solution can fit new rows and hardly change the scores of the old ones.

    Parameters
    ----------
    rows : Rows
        Features.
    n_classes : int
    weight_decay : float
        Half of it times the squared norm of the weights is added to the mean loss.
    begin_like : NormalisedLinear, optional
        An earlier solution, to start from.
    callbacks : list of (str, Callback)
        With `converged` among them, it stops before `max_epochs`.
    piece_weight : float, optional
        Mean weight of the rows, if they are a piece; then `begin_like` is the solution of the
        pieces before.
    **common
        Parameters of `TransferNet`.

    Warns
    -----
    ConvergenceWarning
        If the objective still fell in the last epoch.
    """
    scale = mean_and_length(lambda: all_batches(rows, _ROWS_AT_ONCE))
    n_rows, n_earlier = float(len(rows)), 0.0
    if piece_weight is not None:
        n_rows *= piece_weight
        if begin_like is not None:
            n_earlier = begin_like.n_rows
            scale = begin_like.scale_with(*scale, n_rows)
    head = NormalisedLinear(*scale, n_classes)
    head.n_rows = n_earlier + n_rows
    if begin_like is not None:
        head.begin_like(begin_like)
    net = ProbeNet(
        head,
        l2_penalty=weight_decay,
        held=None if piece_weight is None else (n_earlier, n_rows),
        optimizer=torch.optim.LBFGS,
        optimizer__max_iter=_ITERATIONS,
        optimizer__history_size=_pairs_kept(head),
        optimizer__tolerance_grad=1e-9,
        optimizer__tolerance_change=0.0,
        optimizer__line_search_fn="strong_wolfe",
        lr=1.0,
        batch_size=_ROWS_AT_ONCE,
        callbacks=callbacks,
        **common,
    ).trained_on(rows)
    if len(net.history) == net.max_epochs and not net.interrupted_ and not _nearly_converged(net):
        warn(
            f"L-BFGS did not converge in max_epochs={net.max_epochs} epochs of {_ITERATIONS} "
            "iterations. Increase max_epochs or weight_decay.",
            ConvergenceWarning,
        )
    return net


def converged() -> EarlyStopping:
    """A callback that stops L-BFGS when an epoch lowers the objective by next to nothing."""
    return EarlyStopping("train_objective", 1, _CONVERGED, load_best=False, sink=silent)


def _pairs_kept(head: nn.Module) -> int:
    """Number of pairs of steps and gradients of a head that L-BFGS keeps."""
    a_pair = 2 * sum(parameter.nbytes for parameter in head.parameters())
    return max(_FEWEST_PAIRS, min(_MOST_PAIRS, _HISTORY_BYTES // a_pair))


class ProbeNet(TransferNet):
    """A net that takes each step on all rows, as L-BFGS needs, but computes them in batches.

    In its history ``train_objective`` is the minimised sum of loss and penalty, and ``train_loss``
    the loss of the rows alone, as in every other phase.

    Parameters
    ----------
    module : Module
    l2_penalty : float
        Added to the loss as half this times the squared norm of all weight matrices.
    held : (float, float), optional
        For a piece: the total weight of earlier rows and of these rows. The earlier ones hold
        weights and biases near their first values.
    **kwargs
        Parameters of `TransferNet`; `batch_size` is the number of rows computed at once.
    """

    begun_: list[Tensor]

    def __init__(
        self,
        module: Any,
        *,
        l2_penalty: float = 0.0,
        held: tuple[float, float] | None = None,
        **kwargs: Any,
    ):
        self.l2_penalty = l2_penalty
        self.held = held
        super().__init__(module, **kwargs)

    def trained_on(self, rows: Rows) -> TransferNet:
        try:
            return super().trained_on(rows)
        finally:
            self.begun_ = []  # only the penalty needs it, and pickles should not hold it

    def initialize(self) -> TransferNet:
        super().initialize()
        self.begun_ = [parameter.detach().clone() for parameter in self.module_.parameters()]
        return self

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        *others, print_log = super()._default_callbacks
        objective = PassthroughScoring("train_objective", lower_is_better=None, on_train=True)
        return [*others, ("objective", objective), print_log]

    def _training_batches(self, rows: Rows, epoch: int, seed: int) -> Any:
        return [(rows, None)]

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        step: dict[str, Tensor] = super().train_step(batch, **fit_params)
        self.history.record_batch("train_objective", step["loss"].item())
        return {**step, "loss": step["data_loss"]}

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        rows, _ = batch
        self._set_training(True)
        penalty = self._penalty()
        penalty.backward()
        data_loss = torch.zeros_like(penalty)
        scores = []
        n = len(rows) * rows.views.n_known
        for X, targets in all_batches(rows, self.batch_size):
            given = self.infer(X)
            loss = self.get_loss(given, targets) * (len(X) / n)
            loss.backward()
            data_loss += loss.detach()
            if self._scores_training:
                scores.append(given.detach().cpu())
        self.check_finite(data_loss.item())
        return {
            "loss": data_loss + penalty.detach(),
            "data_loss": data_loss,
            "y_pred": torch.cat(scores) if scores else None,
        }

    @property
    def _scores_training(self) -> bool:
        """True if a callback needs the training scores of all rows, which may take much memory."""
        return any(isinstance(each, SCORING) and each.on_train for _, each in self.callbacks_)

    def _rows_and_labels(self, batch: Any) -> tuple[Any, Tensor]:
        rows, targets = batch
        if targets is not None:  # a batch of validation rows
            return super()._rows_and_labels(batch)
        return rows, torch.cat([rows.targets.y] * rows.views.n_known)

    def _penalty(self) -> Tensor:
        """The penalty on weights; for a piece, on how far weights and biases move."""
        parameters = list(self.module_.parameters())
        if self.held is None:
            squares = [self.l2_penalty * (p**2).sum() for p in parameters if p.ndim > 1]
            return torch.stack(squares).sum() / 2
        n_earlier, n_rows = self.held
        earlier, n_classes = n_earlier / n_rows, len(parameters[0])
        of_weights = self.l2_penalty + earlier * (self.l2_penalty + _HELD_WEIGHTS / n_classes)
        of_biases = max(earlier * _HELD_BIASES, _ROWS_THAT_HOLD / n_rows)
        moves = [
            (of_weights if now.ndim > 1 else of_biases / n_classes) * ((now - begun) ** 2).sum()
            for now, begun in zip(parameters, self.begun_, strict=True)
        ]
        return torch.stack(moves).sum() / 2

    def _step_optimizer(self, step_fn: Any) -> None:
        self.optimizer_.step(step_fn)  # L-BFGS evaluates the loss several times per step

    def get_train_step_accumulator(self) -> "LowestStep":
        return LowestStep()


class LowestStep:
    """The evaluation of an optimizer step that is recorded in the history: the lowest.

    L-BFGS evaluates several points along a line and ends at the best.
    """

    def __init__(self) -> None:
        self._lowest: dict[str, Tensor] | None = None

    def store_step(self, step: dict[str, Tensor]) -> None:
        """Keep an evaluation if its loss is the lowest so far."""
        if self._lowest is None or step["loss"] < self._lowest["loss"]:
            self._lowest = step

    def get_step(self) -> dict[str, Tensor] | None:
        """The evaluation of the lowest loss."""
        return self._lowest


def _nearly_converged(net: TransferNet) -> bool:
    losses = net.history[:, "train_objective"]
    if losses[-1] < _NOTHING_LEFT:
        return True
    return len(losses) > 1 and losses[-2] - losses[-1] <= _STILL_FALLING * abs(losses[-2])

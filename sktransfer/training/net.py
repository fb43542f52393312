"""skorch's NeuralNet, with weighted rows in memory and a stop when the loss diverges."""

import math
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring
from torch import Tensor

from sktransfer.exceptions import TrainingDivergedError
from sktransfer.training.batches import RowBatches, Rows


class TransferNet(NeuralNet):  # type: ignore[misc]
    """A skorch net over stored activations.

    Parameters
    ----------
    module : Module
    l2_penalty : float
        Added to the loss as half this times the squared norm of all weight matrices.
    seed : int
        Of the order of the batches.
    **kwargs
        As `skorch.NeuralNet`.
    """

    def __init__(self, module: Any, *, l2_penalty: float = 0.0, seed: int = 0, **kwargs: Any):
        self.l2_penalty = l2_penalty
        self.seed = seed
        kwargs.setdefault("criterion", torch.nn.CrossEntropyLoss)
        kwargs.setdefault("criterion__reduction", "none")
        kwargs.setdefault("train_split", None)
        kwargs.setdefault("dataset", Rows)
        kwargs.setdefault("iterator_train", RowBatches)
        kwargs.setdefault("iterator_valid", RowBatches)
        super().__init__(module, **kwargs)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        *timers_and_losses, print_log = super()._default_callbacks
        score = PassthroughScoring("valid_score", lower_is_better=False)
        return [*timers_and_losses, ("valid_score", score), ("lr", RecordRate()), print_log]

    def get_iterator(self, dataset: Rows, training: bool = False) -> RowBatches:
        batch_size = len(dataset) if self.batch_size == -1 else self.batch_size
        generator = torch.Generator().manual_seed(self.seed) if training else None
        return RowBatches(dataset, batch_size, generator)

    def get_loss(
        self, y_pred: Tensor, y_true: tuple[Tensor, Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Weighted mean of the rows' losses, plus the penalty."""
        codes, weights = (t.to(y_pred.device) for t in y_true)
        losses: Tensor = self.criterion_(y_pred, codes)
        loss = (losses * weights.to(losses)).mean()
        if self.l2_penalty:
            matrices = [p for p in self.module_.parameters() if p.ndim > 1]
            loss = loss + self.l2_penalty / 2 * sum((m**2).sum() for m in matrices)
        return loss

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        step: dict[str, Tensor] = super().train_step_single(batch, **fit_params)
        if not math.isfinite(step["loss"].item()):
            lr = self.optimizer_.param_groups[-1]["lr"]
            raise TrainingDivergedError(
                f"The training loss became {step['loss'].item()} in epoch {len(self.history)} at a "
                f"learning rate of {lr:.3g}. Try a smaller lr."
            )
        return step

    def get_train_step_accumulator(self) -> "LowestStep":
        return LowestStep()

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        step: dict[str, Tensor] = super().validation_step(batch, **fit_params)
        codes, weights = (t.to(step["y_pred"].device) for t in batch[1])
        right = (step["y_pred"].argmax(1) == codes).to(weights)
        self.history.record_batch("valid_score", (right * weights).mean().item())
        return step

    def scores(self, activations: Tensor) -> Tensor:
        """One score a class for a batch of activations, in evaluation mode."""
        scores: Tensor = self.evaluation_step((activations, None))
        return scores


class LowestStep:
    """Which of an optimizer step's evaluations is written into the history.

    Most optimizers make only one. L-BFGS searches along a line and ends at its best.
    """

    def __init__(self) -> None:
        self._lowest: dict[str, Tensor] | None = None

    def store_step(self, step: dict[str, Tensor]) -> None:
        """Keep the step if no lower loss was seen."""
        if self._lowest is None or step["loss"] < self._lowest["loss"]:
            self._lowest = step

    def get_step(self) -> dict[str, Tensor] | None:
        """The step of the lowest loss."""
        return self._lowest


class RecordRate(Callback):  # type: ignore[misc]
    """Write the head's learning rate at the end of each epoch into the history."""

    def on_epoch_end(self, net: TransferNet, **kwargs: Any) -> None:
        net.history.record("lr", net.optimizer_.param_groups[-1]["lr"])

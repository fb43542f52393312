"""skorch's NeuralNet on stored activations: weighted rows, and a stop when the loss diverges."""

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
    seed : int
        Of the order of the batches.
    **kwargs
        As `skorch.NeuralNet`.
    """

    def __init__(self, module: Any, *, seed: int = 0, **kwargs: Any):
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
        generator = torch.Generator().manual_seed(self.seed) if training else None
        return RowBatches(dataset, self.batch_size, generator)

    def get_loss(
        self, y_pred: Tensor, y_true: tuple[Tensor, Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Weighted mean of the rows' losses."""
        codes, weights = (t.to(y_pred.device) for t in y_true)
        losses: Tensor = self.criterion_(y_pred, codes)
        return (losses * weights.to(losses)).mean()

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        step: dict[str, Tensor] = super().train_step_single(batch, **fit_params)
        self._check_finite(step["loss"].item())
        return step

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            lr = self.optimizer_.param_groups[-1]["lr"]
            raise TrainingDivergedError(
                f"The training loss became {loss} in epoch {len(self.history)} at a learning rate "
                f"of {lr:.3g}. Try a smaller lr."
            )

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


class ProbeNet(TransferNet):
    """A net whose every step sees all rows, as L-BFGS needs, but never holds them at once.

    Parameters
    ----------
    module : Module
    l2_penalty : float
        Added to the loss as half this times the squared norm of all weight matrices.
    **kwargs
        As `TransferNet`; `batch_size` is the number of rows computed at once.
    """

    def __init__(self, module: Any, *, l2_penalty: float = 0.0, **kwargs: Any):
        self.l2_penalty = l2_penalty
        super().__init__(module, **kwargs)

    def get_iterator(self, dataset: Rows, training: bool = False) -> Any:
        return [dataset] if training else super().get_iterator(dataset)

    def train_step_single(self, batch: Rows, **fit_params: Any) -> dict[str, Tensor]:
        self._set_training(True)
        matrices = [p for p in self.module_.parameters() if p.ndim > 1]
        penalty = torch.stack([(m**2).sum() for m in matrices]).sum() * self.l2_penalty / 2
        penalty.backward()
        total = penalty.detach()
        for X, y in RowBatches(batch, self.batch_size):
            loss = self.get_loss(self.infer(X), y) * (len(X) / len(batch))
            loss.backward()
            total = total + loss.detach()
        self._check_finite(total.item())
        return {"loss": total}


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

"""The order of events in training: solve the head first, then fine-tune everything."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import Tensor, nn

from sktransfer._devices import computing, seeded
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.exceptions import DeviceMemoryError
from sktransfer.training.batches import RowBatches, Rows
from sktransfer.training.head import NormalisedLinear, build_head, mean_and_length
from sktransfer.training.module import TransferModule
from sktransfer.training.net import ProbeNet, TransferNet
from sktransfer.training.optimizers import OPTIMIZERS, learning_rates, schedule_callbacks

# L-BFGS runs this many iterations an epoch (torch's own default), and stops for good
# when a whole epoch lowers the loss by less than the first share. If the last epoch it
# was given still lowered the loss by more than the second, the user is warned.
_ITERATIONS = 20
_CONVERGED = 1e-7
_STILL_FALLING = 1e-2
_PROBE_EPOCHS = 10
# Rows that L-BFGS computes at once: few enough to copy to float64, many enough to be fast.
_ROWS_AT_ONCE = 1024

History = list[dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """How to train; the fields are the classifier's parameters of these names."""

    hidden_layer_sizes: Sequence[int]
    dropout: float
    optimizer: str
    lr: float
    lr_decay: float
    weight_decay: float
    schedule: str | None
    max_epochs: int
    batch_size: int
    head_init: str
    device: str
    seed: int
    verbose: int

    def train(
        self, stages: TrainableStages, rows: Rows, validation: Rows | None, n_classes: int
    ) -> tuple[TransferNet, History]:
        """Train a head, and `stages` with it.

        Linear probing before fine-tuning keeps the good features that a random head's
        first gradients would distort: Kumar et al., "Fine-Tuning can Distort Pretrained
        Features and Underperform Out-of-Distribution", ICLR 2022, section 3.4.

        Parameters
        ----------
        stages : TrainableStages
            Trained in place; may be empty.
        rows, validation : Rows
            Activations of the frozen part; `validation` may be None.
        n_classes : int

        Returns
        -------
        net : TransferNet
            Trimmed for prediction.
        history : list of dict
            One record an epoch.

        Raises
        ------
        TrainingDivergedError
            If the loss becomes NaN or infinite.
        DeviceMemoryError
            If the device can't hold a batch.
        """
        rows = rows.on(self.device)
        try:
            with computing():
                if self._is_convex(stages) and self.optimizer in ("auto", "lbfgs"):
                    return self._solve(stages, rows, validation, n_classes)
                return self._probe_and_descend(stages, rows, validation, n_classes)
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"Training ran out of memory on {self.device} at batch_size={self.batch_size}. Use "
                "a smaller batch_size or unfreeze_depth, or device='cpu'."
            ) from error

    def _probe_and_descend(
        self, stages: TrainableStages, rows: Rows, validation: Rows | None, n_classes: int
    ) -> tuple[TransferNet, History]:
        """The head alone, where it has something to learn alone, and then everything."""
        with seeded(self.seed, self.device):
            history: History = []
            if len(stages) and self.head_init == "probe":
                head, history = self._train_head_alone(stages, rows, validation, n_classes)
            else:
                width = _run(stages, Rows(rows[:1][0]), 1, self.device).shape[1]
                head = build_head(width, self.hidden_layer_sizes, self.dropout, n_classes)
            module = TransferModule(stages, head)
            return self._descend(module, rows, validation, history)

    def _is_convex(self, stages: TrainableStages) -> bool:
        """Whether there is one best solution: a linear head on frozen features."""
        return not len(stages) and not self.hidden_layer_sizes and not self.dropout

    def _train_head_alone(
        self, stages: TrainableStages, rows: Rows, validation: Rows | None, n_classes: int
    ) -> tuple[nn.Module, History]:
        """Train the head on features of the pretrained stages, computed once."""

        def features(of: Rows) -> Rows:
            return of.with_X(_run(stages, of, self.batch_size, self.device).flatten(1))

        # Few epochs of fine-tuning must not mean a head that is half solved.
        alone = replace(self, max_epochs=max(self.max_epochs, _PROBE_EPOCHS))
        if not self.hidden_layer_sizes:
            alone = replace(alone, optimizer="auto")
        nothing = TrainableStages([], fixed_statistics=True)
        held_out = None if validation is None else features(validation)
        net, history = alone.train(nothing, features(rows), held_out, n_classes)
        return net.module_.head, history

    def _solve(
        self, stages: TrainableStages, rows: Rows, validation: Rows | None, n_classes: int
    ) -> tuple[TransferNet, History]:
        """L-BFGS on all rows, in float64: the solution needs no learning rate."""
        batches = RowBatches(rows, _ROWS_AT_ONCE)
        probe = NormalisedLinear(*mean_and_length(batches), n_classes)
        net = ProbeNet(
            probe,
            l2_penalty=self.weight_decay,
            optimizer=torch.optim.LBFGS,
            optimizer__max_iter=_ITERATIONS,
            optimizer__tolerance_grad=1e-9,
            optimizer__tolerance_change=0.0,
            optimizer__line_search_fn="strong_wolfe",
            lr=1.0,
            batch_size=_ROWS_AT_ONCE,
            callbacks=[("converged", EarlyStopping("train_loss", 1, _CONVERGED, sink=_silent))],
            **self._common(validation),
        )
        net.fit(rows)
        if len(net.history) == self.max_epochs and not _nearly_converged(net):
            warnings.warn(
                f"L-BFGS did not converge in max_epochs={self.max_epochs} epochs of {_ITERATIONS} "
                "iterations. Increase max_epochs or weight_decay.",
                ConvergenceWarning,
                stacklevel=2,
            )
        history = _records(net, "probe")
        module = TransferModule(stages, nn.Sequential(probe.float()))
        return _finished(net, module.to(self.device)), history

    def _descend(
        self, module: TransferModule, rows: Rows, validation: Rows | None, history: History
    ) -> tuple[TransferNet, History]:
        """Stochastic gradient descent on head and stages together."""
        names = [name for name, _ in module.stages.named_children()]
        steps = self.max_epochs * len(RowBatches(rows, self.batch_size))
        net = TransferNet(
            module,
            **OPTIMIZERS["adamw" if self.optimizer == "auto" else self.optimizer],
            optimizer__weight_decay=self.weight_decay,
            optimizer__param_groups=learning_rates(names, self.lr, self.lr_decay),
            lr=self.lr,
            batch_size=self.batch_size,
            callbacks=schedule_callbacks(self.schedule, steps),
            **self._common(validation),
        )
        net.fit(rows)
        phase = "fine-tune" if names else "head"
        history = history + _records(net, phase)  # trimming clears skorch's own
        return _finished(net, module), history

    def _common(self, validation: Rows | None) -> dict[str, Any]:
        return {
            "max_epochs": self.max_epochs,
            "device": self.device,
            "seed": self.seed,
            "verbose": int(self.verbose > 1),
            "train_split": None if validation is None else predefined_split(validation),
        }


def _run(stages: TrainableStages, rows: Rows, batch_size: int, device: str) -> Tensor:
    """Features of stored activations, in evaluation mode."""
    stages.to(device).eval()
    with torch.no_grad():
        batches = RowBatches(rows, batch_size)
        return torch.cat([stages(X.to(device)) for X, _ in batches]).cpu()


def _nearly_converged(net: TransferNet) -> bool:
    losses = net.history[:, "train_loss"]
    return len(losses) > 1 and losses[-2] - losses[-1] <= _STILL_FALLING * abs(losses[-2])


def _silent(message: str) -> None:
    """Where skorch's "Stopping since ..." goes."""


def _records(net: TransferNet, phase: str) -> History:
    keys = ("train_loss", "lr", "valid_loss", "valid_score")
    return [
        {"phase": phase, "epoch": row["epoch"], **{key: row[key] for key in keys if key in row}}
        for row in net.history
    ]


def _finished(net: TransferNet, module: TransferModule) -> TransferNet:
    """Drop what only training needs, optimizer state first of all."""
    net.trim_for_prediction()
    net.module_ = module.eval()
    net.module = TransferModule  # else the trained module would be pickled twice
    return net

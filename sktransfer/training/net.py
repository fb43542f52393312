"""skorch's NeuralNet for stored activations: weighted rows, views, mixed precision, averages."""

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring
from skorch.history import History
from torch import Tensor, nn

from sktransfer._common.devices import available_or_cpu
from sktransfer._common.plain_tensors import with_plain_tensors, with_tensors
from sktransfer._common.random import derived_seed, seeded
from sktransfer.exceptions import TrainingDivergedError
from sktransfer.training.averaging import WeightAverage
from sktransfer.training.batches import RowBatches, Rows
from sktransfer.training.callbacks import RecordRate
from sktransfer.training.head import Dropout
from sktransfer.training.interruption import CtrlC, ctrl_c_told_apart
from sktransfer.training.losses import RowLoss, Targets
from sktransfer.training.mixing import Mixing
from sktransfer.training.task import Task

_ONLY_TRAINING = {"optimizer_", "weight_average_", "begin_state", "begun_"}


class TransferNet(ClassifierMixin, NeuralNet):  # type: ignore[misc]
    """A skorch net for stored activations.

    scikit-learn's scorers, which skorch's callbacks call, see a classifier whose labels are 0 to
    k - 1. Callbacks see batches of activations and labels, as skorch's own nets give them.

    All draws of an epoch (batches, dropout, mixing) depend on the seed and the number of the
    epoch alone, so that training can continue from any epoch without a saved random state.

    Parameters
    ----------
    module : Module
    seed : int
        Seed of all draws.
    sampling : str or None
        See `Sampler`.
    mixing : Mixing, optional
    gradient_clipping : float, optional
        Largest norm of all gradients together; larger ones are scaled down to it.
    ema_decay : float, optional
        See `WeightAverage`.
    hold : float
        Strength of the penalty on the squared distance of features to `Targets.start`.
    precision : {"float32", "bfloat16", "float16"}
        Precision of the module's arithmetic; weights are float32 in any case.
    loss_scale : float
        Factor of the loss in training, but not in the history: the mean weight of the rows of a
        piece, in which each row must count as much as in any other piece.
    begin_state : mapping, optional
        State of the optimizer after an earlier training, by the number of each parameter.
    **kwargs
        As `skorch.NeuralNet`.
    """

    # skorch sets these, and has no types.
    module: Any
    module_: Any
    device: Any

    def __init__(
        self,
        module: Any,
        *,
        seed: int = 0,
        sampling: str | None = None,
        mixing: Mixing | None = None,
        gradient_clipping: float | None = None,
        ema_decay: float | None = None,
        hold: float = 0.0,
        precision: str = "float32",
        loss_scale: float = 1.0,
        begin_state: Mapping[int, Any] | None = None,
        **kwargs: Any,
    ):
        self.seed = seed
        self.sampling = sampling
        self.mixing = mixing
        self.gradient_clipping = gradient_clipping
        self.ema_decay = ema_decay
        self.hold = hold
        self.precision = precision
        self.loss_scale = loss_scale
        self.begin_state = begin_state
        kwargs.setdefault("criterion", RowLoss)
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

    def initialize(self) -> "TransferNet":
        super().initialize()
        kind = torch.device(self.device).type
        # float16 rounds small gradients to 0, unless the loss is scaled up; the other precisions
        # have the exponents of float32.
        self.scaler_ = torch.amp.GradScaler(kind, enabled=self.precision == "float16")
        self.weight_average_ = None
        if self.ema_decay is not None:
            self.weight_average_ = WeightAverage(self.module_, self.ema_decay)
        if self.begin_state is not None:
            groups = self.optimizer_.state_dict()["param_groups"]
            # A copy: torch would update the given tensors in place, and a training that fails
            # would leave the earlier fit with a changed state.
            state = copy.deepcopy(dict(self.begin_state))
            self.optimizer_.load_state_dict({"state": state, "param_groups": groups})
        self.interrupted_ = self.finished_ = self.kept_beginning_ = False
        return self

    # Not as skorch does it: its state holds a pickle of its own, which can run code that no check
    # of the outer file sees, and it opens neither tensors of MPS nor those of a second GPU.
    def __getstate__(self) -> dict[str, Any]:
        # skorch's Checkpoint pickles nets in training. What belongs to the tensors of now would be
        # cut off from those of a copy.
        training = dict.fromkeys(_ONLY_TRAINING & vars(self).keys())
        return dict(with_plain_tensors({**vars(self), **training}))

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "__cuda_dependent_attributes__" in state:
            raise UnpicklingError(
                "This classifier was pickled by an early sktransfer, in a form that can hide code, "
                "and is not opened. Fit it again."
            )
        # The estimator warns if the device is missing.
        device = available_or_cpu(state["device"])
        opened = with_tensors({**state, "device": device})
        self.__dict__.update(
            (name, value.to(device) if isinstance(value, nn.Module) else value)
            for name, value in opened.items()
        )

    def get_iterator(self, dataset: Rows, training: bool = False) -> Any:
        """In training the rows themselves, of which each epoch draws its own batches."""
        return dataset if training else RowBatches(dataset, self.batch_size)

    def run_single_epoch(
        self,
        iterator: Any,
        training: bool,
        prefix: str,
        step_fn: Callable[..., Any],
        **fit_params: Any,
    ) -> None:
        try:
            if not training:
                super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
                return
            epoch = len(self.history) - 1
            # Before the generator is seeded: a fresh view is computed here, and makes draws too.
            iterator.views(epoch)
            seed = derived_seed(self.seed, epoch)
            self._show_average(False)
            with seeded(seed, self.device):
                batches = self._training_batches(iterator, epoch, seed)
                super().run_single_epoch(batches, training, prefix, step_fn, **fit_params)
        except KeyboardInterrupt:  # by hand; early stopping raises its own elsewhere
            self.interrupted_ = True
            raise
        finally:
            self._show_average(True)

    def _training_batches(self, rows: Rows, epoch: int, seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return RowBatches(rows, self.batch_size, rows.sampler(self.sampling), generator, epoch)

    def _show_average(self, shown: bool) -> None:
        if self.weight_average_ is not None:
            self.weight_average_.show(shown)

    def notify(self, method_name: str, **kwargs: Any) -> None:
        if "batch" in kwargs:
            kwargs["batch"] = self._rows_and_labels(kwargs["batch"])
        super().notify(method_name, **kwargs)

    def _rows_and_labels(self, batch: Any) -> tuple[Any, Tensor]:
        X, targets = batch
        return X, targets.y

    def infer(self, x: Any, **fit_params: Any) -> Any:
        kind = torch.device(self.device).type
        dtype = getattr(torch, self.precision)
        with torch.autocast(kind, dtype, enabled=self.precision != "float32"):
            scores = super().infer(x, **fit_params)
        return tuple(map(_whole, scores)) if isinstance(scores, tuple) else _whole(scores)

    def get_loss(self, y_pred: Tensor, y_true: Targets, *args: Any, **kwargs: Any) -> Tensor:
        """Weighted mean of the rows' losses."""
        targets = y_true.to(y_pred.device)
        losses: Tensor = self.criterion_(y_pred, targets)
        return (losses * targets.weights.to(losses)).mean()

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self._set_training(True)
        X, targets = batch
        if self.mixing is not None:
            X, targets = self.mixing(X, targets)
        scores, penalty = self._scores_and_penalty(X, targets)
        loss = self.get_loss(scores, targets)
        scaled = (loss + penalty) * self.loss_scale
        self.check_finite(scaled.item())
        self.scaler_.scale(scaled).backward()
        # Not in the step: callbacks see the gradients before it, and want them as they are.
        self.scaler_.unscale_(self.optimizer_)
        return {"loss": loss.detach(), "y_pred": scores.detach()}

    def _scores_and_penalty(self, X: Tensor, targets: Targets) -> tuple[Tensor, Tensor | float]:
        """Scores (n, k), and the penalty on the distance of features to where they are held."""
        if targets.start is None:
            return self.infer(X), 0.0
        scores, features = self.infer(X, with_features=True)
        squares = (features - targets.start.to(features)).square().sum(1)
        return scores, self.hold * (squares * targets.weights.to(squares)).mean()

    def _step_optimizer(self, step_fn: Callable[[], Any]) -> None:
        step_fn()
        if self.gradient_clipping is not None:
            torch.nn.utils.clip_grad_norm_(self.module_.parameters(), self.gradient_clipping)
        self.scaler_.step(self.optimizer_)
        # The scaler skips the first steps of float16 until its scale fits. torch would take that
        # for a schedule that steps before its optimizer, and warn.
        self.optimizer_._opt_called = True
        self.scaler_.update()
        if self.weight_average_ is not None:
            self.weight_average_.update()

    def check_finite(self, loss: float) -> None:
        """Raise TrainingDivergedError if a loss is not finite."""
        if not math.isfinite(loss):
            lr = self.optimizer_.param_groups[-1]["lr"]
            raise TrainingDivergedError(
                f"The training loss became {loss} in epoch {len(self.history)} at a learning rate "
                f"of {lr:.3g}. Try a smaller lr, or gradient_clipping=1.0."
            )

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        step: dict[str, Tensor] = super().validation_step(batch, **fit_params)
        scores, targets = step["y_pred"], batch[1].to(step["y_pred"].device)
        score = (self.task.right(scores, targets.y) * targets.weights).mean().item()
        self.history.record_batch("valid_score", score)
        return step

    @property
    def task(self) -> Task:
        """The task of the loss, which says what the scores mean."""
        task: Task = self.criterion_.task
        return task

    @property
    def classes_(self) -> np.ndarray:
        """Codes of the classes, as scikit-learn's scorers ask for them."""
        # The last parameter of every head is the bias of its linear layer.
        *_, bias = self.module_.parameters()
        return np.arange(len(bias))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of stored rows, for scikit-learn's scorers."""
        return self.task.probabilities(self.forward(X).numpy())

    def predict(self, X: Any) -> np.ndarray:
        """Codes of stored rows, or an indicator of several labels, for scikit-learn's scorers."""
        return self.task.predictions(self.forward(X).numpy())

    def scores(self, activations: Tensor) -> Tensor:
        """Scores (n, k) of a batch of activations, in evaluation mode."""
        scores: Tensor = self.evaluation_step((activations, None))
        return scores

    def features(self, activations: Tensor) -> Tensor:
        """What the last layer of the head takes, (n, n_features), in evaluation mode."""
        self._set_training(False)
        with torch.no_grad():
            _, features = self.infer(activations, with_features=True)
            return self.module_.head[:-1](features)

    def scores_of(self, rows: Rows) -> Tensor:
        """Scores (n, k) of stored rows, on the CPU."""
        batches = RowBatches(rows, self.batch_size)
        return torch.cat([self.scores(X).cpu() for X, _ in batches])

    def loss_of(self, rows: Rows) -> float:
        """Weighted mean loss of stored rows, in evaluation mode."""
        batches = RowBatches(rows, self.batch_size)
        losses = (len(X) * self.get_loss(self.scores(X), targets) for X, targets in batches)
        return sum(loss.item() for loss in losses) / len(rows)

    def chance_loss(self, rows: Rows) -> float:
        """Weighted mean loss of equal scores: that of a model which has learned nothing."""
        scores = torch.zeros(len(rows), len(self.classes_), device=self.device)
        return self.get_loss(scores, rows.targets).item()

    def drawn_scores(self, activations: Tensor, n: int, seed: int) -> Tensor:
        """Scores (b, n, k) by `n` draws of the head's dropout, the same ones for all rows.

        Source: Gal & Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, eq. 6.
        """
        self._set_training(False)
        dropouts = [module for module in self.module_.head if isinstance(module, Dropout)]
        with torch.no_grad():
            features = self.module_.stages(activations.to(self.device))
            try:
                for dropout in dropouts:
                    dropout.sampled = True
                draws = []
                for draw in range(n):
                    with seeded(derived_seed(seed, draw), self.device):
                        draws.append(self.module_.head(features))
            finally:
                for dropout in dropouts:
                    dropout.sampled = False
        return torch.stack(draws, dim=1)

    def trained_on(self, rows: Rows) -> "TransferNet":
        """Train for the remaining epochs: all of them, unless a checkpoint holds some."""
        self.initialize()
        self.notify("on_train_begin", X=rows, y=None)
        left = 0 if self.finished_ else self.max_epochs - len(self.history)
        # Callbacks that stop early raise KeyboardInterrupt, as an interrupt by hand does.
        with contextlib.suppress(KeyboardInterrupt), ctrl_c_told_apart():
            try:
                self.fit_loop(rows, epochs=left)
            except CtrlC:  # also between epochs: while a checkpoint is written, for example
                self.interrupted_ = True
        self.notify("on_train_end", X=rows, y=None)
        return self

    def ready(self, module: nn.Module, device: str, batch_size: int) -> "TransferNet":
        """Make this net, in place, one for prediction and pickles: without what training needs."""
        self.trim_for_prediction()
        self.begin_state = self.weight_average_ = None
        self.device, self.batch_size = device, batch_size
        self.module_ = module.to(device).eval()
        self.module_.zero_grad()  # gradients take as much memory as the weights
        self.module = type(module)  # else the trained module would be pickled twice
        return self

    def resume(self, history: list[dict[str, Any]], *, finished: bool) -> None:
        """Continue after the epochs of a history."""
        self.history = History(history)
        self.finished_ = finished


def _whole(values: Tensor) -> Tensor:
    """The values in float32, if they are in a shorter precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

"""What training is made of: a head solved by L-BFGS, and gradient descent on everything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import nn

from sktransfer._common.devices import with_float64
from sktransfer._common.random import seeded
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import RowBatches, Rows, all_batches
from sktransfer.training.callbacks import EpochBar, GradualUnfreezing, KeepBest, first_epochs
from sktransfer.training.checkpoints import Checkpoint, CheckpointFiles
from sktransfer.training.head import NormalisedLinear, Scaled, build_head
from sktransfer.training.losses import CONVEX_LOSSES
from sktransfer.training.mixing import Mixing
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.optimizers import learning_rates, optimizer_options
from sktransfer.training.pace import epochs, learning_rate, warn_if_short
from sktransfer.training.schedules import schedule_callback
from sktransfer.training.solver import converged, solve

# Rows that tell how large features are.
_ROWS_FOR_A_SCALE = 256

Named = list[tuple[str, Callback]]


@dataclass(frozen=True)
class Phases:
    """Each phase of training, as the fields say: the classifier's parameters, but for a few.

    Parameters
    ----------
    n_classes : int
    loss : mapping
        What `RowLoss` takes.
    seed : int
    optimizer_state : mapping or None
        To go on with.
    piece_weight : float or None
        What a row counts on average beside those of other pieces, if these are not all.
    **others
        See `PretrainedImageClassifier`.
    """

    n_classes: int
    device: str = "cpu"
    seed: int = 0
    loss: Mapping[str, Any] = field(default_factory=lambda: {"loss": "cross_entropy"})
    hidden_layer_sizes: Sequence[int] = ()
    dropout: float = 0.0
    sampling: str | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    optimizer: str | Callable[..., Any] = "auto"
    lr: float | str = "auto"
    lr_decay: float = 0.9
    weight_decay: float = 1e-4
    schedule: str | Callable[..., Any] | None = "cosine"
    gradient_clipping: float | None = None
    ema_decay: float | None = None
    max_epochs: int | str = "auto"
    batch_size: int = 32
    head_init: str = "probe"
    fine_tune: str = "always"
    gradual_unfreezing: bool | Sequence[int] = False
    early_stopping: bool = False
    n_iter_no_change: int = 5
    callbacks: Sequence[Any] = ()
    precision: str = "float32"
    checkpoint_dir: Path | None = None
    optimizer_state: Mapping[int, Any] | None = None
    piece_weight: float | None = None
    verbose: int = 0

    def _random_head(self, stages: TrainableStages, rows: Rows) -> nn.Sequential:
        some = torch.linspace(0, len(rows) - 1, min(len(rows), _ROWS_FOR_A_SCALE)).long()
        features = self._features(stages, rows.drawn(some))(0)
        with seeded(self.seed, self.device):
            head = build_head(
                features.shape[1], self.hidden_layer_sizes, self.dropout, self.n_classes
            )
        # Stages that train change the scale of what they give.
        return head if len(stages) else nn.Sequential(Scaled(features), *head)

    def _features(self, stages: TrainableStages, rows: Rows) -> FixedViews:
        """What the stages make of stored activations, in evaluation mode; where the rows lie."""
        stages.to(self.device).eval()
        with torch.no_grad():
            batches = all_batches(rows, self.batch_size)
            features = [stages(X.to(self.device)).flatten(1).to(rows.device) for X, _ in batches]
        return FixedViews(torch.cat(features).split(len(rows)))

    def _solve(
        self,
        rows: Rows,
        validation: Rows | None,
        begin_like: NormalisedLinear | None,
        files: CheckpointFiles,
    ) -> TransferNet:
        """The best linear head, for a loss of which there is one."""
        loss = dict(self.loss)
        if loss["loss"] not in CONVEX_LOSSES:
            loss["loss"] = CONVEX_LOSSES[0]
        return solve(
            self._counted(rows.fixed()),
            self.n_classes,
            weight_decay=self.weight_decay,
            begin_like=begin_like,
            piece_weight=self.piece_weight,
            callbacks=self._watchers("probe", files, goes_on=begin_like is not None),
            **self._common(validation, loss, epochs(self.max_epochs))
            | {"device": with_float64(self.device)},
        )

    def _counted(self, rows: Rows) -> Rows:
        """Rows that count as often as an epoch would draw them, for what knows no epochs.

        Their weights have a mean of 1, in a fold too, so that weight_decay keeps its meaning.
        """
        weights = rows.targets.weights
        weights = weights * rows.sampler(self.sampling).times().to(weights)
        return rows.weighed(weights / weights.mean())

    def _descend(
        self,
        module: TransferModule,
        rows: Rows,
        validation: Rows | None,
        files: CheckpointFiles,
        phase: str = "descent",
        *,
        goes_on: bool = False,
    ) -> TransferNet:
        """Stochastic gradient descent on head and stages together.

        It `goes_on` where they have learned something.
        """
        depths = {
            name: depth
            for name, depth in module.stages.depths.items()
            if any(True for _ in module.stages.get_submodule(name).parameters())
        }
        # A mean weight of 1 as they are drawn, which is not as often as each other.
        times = rows.sampler(self.sampling).times().to(rows.targets.weights)
        drawn_mean = (rows.targets.weights @ times / times.sum()).item()
        rows = rows.weighed(rows.targets.weights / drawn_mean)
        n_batches = len(RowBatches(rows, self.batch_size, rows.sampler(self.sampling)))
        lr, max_epochs = self._pace(module, rows, n_batches)
        rates = learning_rates(depths, lr, self.lr_decay)
        schedule = schedule_callback(
            self.schedule,
            n_steps=max_epochs * n_batches,
            n_epoch=n_batches,
            rates=[*(options["lr"] for _, options in rates), lr],
            monitor="train_loss" if validation is None else "valid_loss",
        )
        first: Named = [] if schedule is None else [("schedule", schedule)]
        if self.gradual_unfreezing is not False:
            begins = first_epochs(
                self.gradual_unfreezing,
                module.stages.depths,
                max_epochs,
                head_first=self.head_init == "random",
            )
            first.append(("unfreezing", GradualUnfreezing(begins)))
        mixes = self.mixup > 0 or self.cutmix > 0
        net = TransferNet(
            module,
            **optimizer_options(self.optimizer, self.weight_decay),
            optimizer__param_groups=rates,
            lr=lr,
            batch_size=self.batch_size,
            sampling=self.sampling,
            mixing=Mixing(self.mixup, self.cutmix, self.n_classes) if mixes else None,
            gradient_clipping=self.gradient_clipping,
            ema_decay=self.ema_decay,
            precision=self.precision,
            begin_state=self.optimizer_state,
            loss_scale=1.0 if self.piece_weight is None else self.piece_weight * drawn_mean,
            callbacks=first + self._watchers(phase, files, goes_on=goes_on),
            **self._common(validation, self.loss, max_epochs),
        )
        net.trained_on(rows)
        losses = [row["train_loss"] for row in net.history if "train_loss" in row]
        if len(losses) == max_epochs:  # else it was stopped
            warn_if_short(losses, self._knowing_nothing(net, rows))
        return net

    def _pace(self, module: TransferModule, rows: Rows, n_batches: int) -> tuple[float, int]:
        """The head's learning rate, and the number of epochs."""
        # Who trains alone has features that can be scaled once and for all.
        at_random = isinstance(module.head[0], Scaled) and not len(module.stages)
        # An epoch of new views costs a pass over the pictures: as few as for any other head.
        cheap = at_random and isinstance(rows.views, FixedViews)
        return (
            learning_rate(self.lr, at_random=at_random),
            epochs(self.max_epochs, n_batches if cheap else None),
        )

    def _knowing_nothing(self, net: TransferNet, rows: Rows) -> float:
        """The loss of scores that are all the same."""
        equal_scores = torch.zeros(len(rows), self.n_classes, device=self.device)
        return net.get_loss(equal_scores, rows.targets).item()

    def _watchers(self, phase: str, files: CheckpointFiles, *, goes_on: bool) -> Named:
        """Callbacks of every phase, and in the last one the user's."""
        titles = {"probe": "Solving the head", "head": "Training the head", "descent": "Training"}
        watchers: list[Any] = [("bar", EpochBar(titles[phase]))] if self.verbose else []
        watchers += self.callbacks
        # Those that stop come after those that watch, who would not see the last epoch else.
        if self.early_stopping:
            keep_best = KeepBest(self.n_iter_no_change, goes_on=goes_on)
            watchers.append(("early_stopping", keep_best))
        if phase == "probe":
            watchers.append(("converged", converged()))
        path = files.path(phase)
        return watchers if path is None else [*watchers, ("checkpoint", Checkpoint(path))]

    def _common(
        self, validation: Rows | None, loss: Mapping[str, Any], max_epochs: int
    ) -> dict[str, Any]:
        return {
            **{f"criterion__{name}": value for name, value in loss.items()},
            "max_epochs": max_epochs,
            "device": self.device,
            "seed": self.seed,
            "verbose": int(self.verbose > 1),
            "train_split": None if validation is None else predefined_split(validation),
        }

"""The order of events in training: solve the head first, then fine-tune everything."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from torch import nn

from sktransfer._devices import computing, seeded
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import state_digest
from sktransfer.exceptions import DeviceMemoryError, TrainingWarning
from sktransfer.training.batches import RowBatches, Rows, all_batches
from sktransfer.training.callbacks import EpochBar, GradualUnfreezing, first_epochs
from sktransfer.training.checkpoints import Checkpoint, CheckpointFiles
from sktransfer.training.head import Dropout, NormalisedLinear, build_head
from sktransfer.training.losses import CONVEX_LOSSES
from sktransfer.training.mixing import Mixing
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet, silent
from sktransfer.training.optimizers import learning_rates, optimizer_options
from sktransfer.training.sampling import Sampler
from sktransfer.training.schedules import schedule_callback
from sktransfer.training.solver import converged, solve

# Few epochs of fine-tuning must not mean a head that is half solved.
_PROBE_EPOCHS = 10
# Share of a loss by which an epoch must lower it to count for early stopping.
_IMPROVED = 1e-4

History = list[dict[str, Any]]
Named = list[tuple[str, Callback]]


class Trained(NamedTuple):
    """What training gives: a net for prediction, a record an epoch, the optimizer's state."""

    net: TransferNet
    history: History
    optimizer_state: Mapping[int, Any] | None


@dataclass(frozen=True)
class Recipe:
    """How to train; the fields are the classifier's parameters of these names, but for a few.

    Parameters
    ----------
    n_classes : int
    loss : mapping
        What `RowLoss` takes.
    seed : int
    optimizer_state : mapping or None
        To go on with.
    **others
        See `PretrainedImageClassifier`.
    """

    n_classes: int
    device: str = "cpu"
    seed: int = 0
    loss_floor: float = 0.0
    loss: Mapping[str, Any] = field(default_factory=lambda: {"loss": "cross_entropy"})
    hidden_layer_sizes: Sequence[int] = ()
    dropout: float = 0.0
    sampling: str | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    optimizer: str | Callable[..., Any] = "auto"
    lr: float = 3e-4
    lr_decay: float = 0.9
    weight_decay: float = 1e-4
    schedule: str | Callable[..., Any] | None = "cosine"
    gradient_clipping: float | None = None
    ema_decay: float | None = None
    max_epochs: int = 10
    batch_size: int = 32
    head_init: str = "probe"
    gradual_unfreezing: bool | Sequence[int] = False
    early_stopping: bool = False
    n_iter_no_change: int = 5
    callbacks: Sequence[Any] = ()
    precision: str = "float32"
    checkpoint_dir: Path | None = None
    optimizer_state: Mapping[int, Any] | None = None
    verbose: int = 0

    def train(
        self,
        stages: TrainableStages,
        rows: Rows,
        validation: Rows | None,
        begin_with: TransferModule | None = None,
    ) -> Trained:
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
        begin_with : TransferModule, optional
            What an earlier training gave, to go on with; of these `stages`.

        Raises
        ------
        TrainingDivergedError
            If the loss becomes NaN or infinite.
        DeviceMemoryError
            If the device can't hold a batch.
        """
        identity = partial(self._identity, stages, rows, validation, begin_with)
        files = CheckpointFiles(self.checkpoint_dir, identity)
        rows = rows.on(self.device)
        try:
            with computing():
                trained = self._train(stages, rows, validation, begin_with, files)
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"Training ran out of memory on {self.device} at batch_size={self.batch_size}. Use "
                "a smaller batch_size or unfreeze_depth, or device='cpu'."
            ) from error
        if trained.net.interrupted_:
            warnings.warn(
                f"Training was interrupted after {len(trained.history)} whole epochs. The "
                "classifier keeps what it had learned by then.",
                TrainingWarning,
                stacklevel=3,
            )
        else:
            files.remove()
        return trained

    def for_a_piece(self, optimizer_state: Mapping[int, Any] | None) -> "Recipe":
        """The same for one epoch on some of the rows, of which nobody knows how many follow."""
        return replace(
            self,
            max_epochs=1,
            schedule=None,
            optimizer="adamw" if self.optimizer == "auto" else self.optimizer,
            optimizer_state=optimizer_state,
        )

    def _train(
        self,
        stages: TrainableStages,
        rows: Rows,
        validation: Rows | None,
        begin_with: TransferModule | None,
        files: CheckpointFiles,
    ) -> Trained:
        """The head alone, where it has something to learn alone, and then everything."""
        if self._is_convex(stages, rows):
            head: Any = None if begin_with is None else begin_with.head[-1]
            net = self._solve(rows, validation, head, files)
            module = TransferModule(stages, nn.Sequential(net.module_.float()))
            return self._finished(net, module, _records(net, "probe"))
        history: History = []
        if begin_with is not None:
            module = begin_with
        else:
            head, first = self._first_head(stages, rows, validation, files)
            module = TransferModule(stages, head)
            if first is not None:
                history = _records(first, "head" if self.hidden_layer_sizes else "probe")
                if first.interrupted_:
                    return self._finished(first, module, history)
        net = self._descend(module, rows, validation, files)
        phase = "fine-tune" if len(stages) else "head"
        return self._finished(net, module, history + _records(net, phase))

    def _is_convex(self, stages: TrainableStages, rows: Rows) -> bool:
        """Whether there is one best solution: a linear head on frozen features."""
        frozen = not len(stages) and not self.hidden_layer_sizes and not self.dropout
        fixed = isinstance(rows.views, FixedViews) and not self.mixup and not self.cutmix
        convex = self.ema_decay is None and self.loss["loss"] in CONVEX_LOSSES
        return frozen and fixed and convex and self.optimizer in ("auto", "lbfgs")

    def _first_head(
        self,
        stages: TrainableStages,
        rows: Rows,
        validation: Rows | None,
        files: CheckpointFiles,
    ) -> tuple[nn.Sequential, TransferNet | None]:
        """A head, trained on the pretrained features alone unless it is to be random."""
        if self.head_init == "random" or (self.hidden_layer_sizes and not len(stages)):
            return self._random_head(stages, rows), None
        features, held_out = rows, validation
        if len(stages):
            features = rows.with_X(self._features(stages, rows))
            held_out = validation and validation.with_X(self._features(stages, validation))
        alone = self._alone()
        if self.hidden_layer_sizes:
            nothing = TrainableStages()
            module = TransferModule(nothing, self._random_head(nothing, features))
            return module.head, alone._descend(module, features, held_out, files, "head")
        net = alone._solve(features, held_out, None, files)
        dropout = [Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*dropout, net.module_.float()), net

    def _alone(self) -> "Recipe":
        """The same for a head that is trained before the stages."""
        return replace(
            self,
            max_epochs=max(self.max_epochs, _PROBE_EPOCHS),
            cutmix=0.0,  # features have no places
            gradual_unfreezing=False,
            callbacks=(),
            optimizer_state=None,
        )

    def _random_head(self, stages: TrainableStages, rows: Rows) -> nn.Sequential:
        one = rows.drawn(torch.zeros(1, dtype=torch.long))
        width = self._features(stages, one)(0).shape[1]
        with seeded(self.seed, self.device):
            return build_head(width, self.hidden_layer_sizes, self.dropout, self.n_classes)

    def _features(self, stages: TrainableStages, rows: Rows) -> FixedViews:
        """What the stages make of stored activations, in evaluation mode."""
        stages.to(self.device).eval()
        with torch.no_grad():
            batches = all_batches(rows, self.batch_size)
            values = torch.cat([stages(X.to(self.device)).flatten(1).cpu() for X, _ in batches])
        return FixedViews(values.split(len(rows)))

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
        rows = rows.fixed()
        if self.sampling is not None:  # drawn once, for there are no epochs
            generator = torch.Generator().manual_seed(self.seed)
            rows = rows.drawn(self._sampler(rows)(generator))
        return solve(
            rows,
            self.n_classes,
            weight_decay=self.weight_decay,
            begin_like=begin_like,
            callbacks=self._watchers("probe", validation, files),
            **self._common(validation, loss),
        )

    def _descend(
        self,
        module: TransferModule,
        rows: Rows,
        validation: Rows | None,
        files: CheckpointFiles,
        phase: str = "descent",
    ) -> TransferNet:
        """Stochastic gradient descent on head and stages together."""
        depths = {
            name: depth
            for name, depth in module.stages.depths.items()
            if any(True for _ in module.stages.get_submodule(name).parameters())
        }
        rates = learning_rates(depths, self.lr, self.lr_decay)
        n_batches = len(RowBatches(rows, self.batch_size, self._sampler(rows)))
        schedule = schedule_callback(
            self.schedule,
            n_steps=self.max_epochs * n_batches,
            rates=[*(options["lr"] for _, options in rates), self.lr],
            monitor=_monitor(validation),
        )
        first: Named = [] if schedule is None else [("schedule", schedule)]
        if self.gradual_unfreezing is not False:
            begins = first_epochs(
                self.gradual_unfreezing,
                module.stages.depths,
                self.max_epochs,
                head_first=self.head_init == "random",
            )
            first.append(("unfreezing", GradualUnfreezing(begins)))
        mixes = self.mixup > 0 or self.cutmix > 0
        net = TransferNet(
            module,
            **optimizer_options(self.optimizer, self.weight_decay),
            optimizer__param_groups=rates,
            lr=self.lr,
            batch_size=self.batch_size,
            sampling=self.sampling,
            mixing=Mixing(self.mixup, self.cutmix, self.n_classes) if mixes else None,
            gradient_clipping=self.gradient_clipping,
            ema_decay=self.ema_decay,
            precision=self.precision,
            begin_state=self.optimizer_state,
            callbacks=first + self._watchers(phase, validation, files),
            **self._common(validation, {**self.loss, "floor": self.loss_floor if depths else 0.0}),
        )
        return net.trained_on(rows)

    def _sampler(self, rows: Rows) -> Sampler:
        return Sampler(self.sampling, rows.targets.y, rows.targets.weights)

    def _watchers(self, phase: str, validation: Rows | None, files: CheckpointFiles) -> Named:
        """Callbacks of every phase, and in the last one the user's."""
        titles = {"probe": "Solving the head", "head": "Training the head", "descent": "Training"}
        watchers: list[Any] = [("bar", EpochBar(titles[phase]))] if self.verbose else []
        watchers += self.callbacks
        # Those that stop come after those that watch, who would not see the last epoch else.
        if self.early_stopping:
            patience = self.n_iter_no_change
            stopping = EarlyStopping("valid_loss", patience, _IMPROVED, load_best=True, sink=silent)
            watchers.append(("early_stopping", stopping))
        if phase == "probe":
            watchers.append(("converged", converged()))
        path = files.path(phase)
        return watchers if path is None else [*watchers, ("checkpoint", Checkpoint(path))]

    def _common(self, validation: Rows | None, loss: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **{f"criterion__{name}": value for name, value in loss.items()},
            "max_epochs": self.max_epochs,
            "device": self.device,
            "seed": self.seed,
            "verbose": int(self.verbose > 1),
            "train_split": None if validation is None else predefined_split(validation),
        }

    def _finished(self, net: TransferNet, module: TransferModule, history: History) -> Trained:
        """Drop what only training needs, optimizer state first of all."""
        state = net.optimizer_.state_dict()["state"]
        net.trim_for_prediction()
        net.begin_state = net.weight_average_ = None
        net.module_ = module.to(self.device).eval()
        net.module = TransferModule  # else the trained module would be pickled twice
        return Trained(net, history, state)

    def _identity(
        self,
        stages: TrainableStages,
        rows: Rows,
        validation: Rows | None,
        begin_with: TransferModule | None,
    ) -> str:
        """A digest of all that the result depends on."""
        aside = ("callbacks", "checkpoint_dir", "device", "verbose")
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in aside}
        # The state alone knows neither kinds of pooling nor what BatchNorm does in training.
        sha = sha256(f"{settings} {stages} {stages.fixed_statistics}".encode())
        for module in (stages, begin_with):
            sha.update(b"" if module is None else state_digest(module))
        for given in (rows, validation):
            sha.update(b"" if given is None else given.digest())
        return sha.hexdigest()


def _monitor(validation: Rows | None) -> str:
    return "train_loss" if validation is None else "valid_loss"


def _records(net: TransferNet, phase: str) -> History:
    keys = ("train_loss", "lr", "valid_loss", "valid_score")
    return [
        {
            "phase": phase,
            "epoch": row["epoch"],
            **{key: float(row[key]) for key in keys if key in row},
        }
        for row in net.history
        if "train_loss" in row  # an interrupted epoch has none
    ]

"""The order of events in training: solve the head first, then fine-tune everything."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import BatchScoring, EpochScoring
from torch import nn

from sktransfer._common.identity import described, library_versions
from sktransfer._common.threads import computing
from sktransfer._common.warning import warn
from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import state_digest
from sktransfer.exceptions import (
    DeviceMemoryError,
    ForgettingWarning,
    InterruptedWarning,
    TrainingWarning,
)
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.head import Dropout, NormalisedLinear
from sktransfer.training.losses import CONVEX_LOSSES
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.optimizers import state_on_cpu
from sktransfer.training.pace import epochs, learning_rate
from sktransfer.training.phases import Phases
from sktransfer.training.screening import cross_validated_mistakes

# Share of what the head alone had learned, in terms of the loss, that fine-tuning may lose
# without a warning.
_LOST = 0.25

History = list[dict[str, Any]]


class Trained(NamedTuple):
    """What training gives: a net for prediction, a record an epoch, the optimizer's state."""

    net: TransferNet
    history: History
    optimizer_state: Mapping[int, Any] | None


@dataclass(frozen=True)
class Recipe(Phases):
    """Which phases there are, and in which order; the fields are those of `Phases`."""

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
            warn(
                f"Training was interrupted after {len(trained.history)} whole epochs. The "
                "classifier keeps what it had learned by then.",
                InterruptedWarning,
            )
        else:
            files.remove()
        return trained

    def for_a_piece(
        self, optimizer_state: Mapping[int, Any] | None, weight: float = 1.0
    ) -> "Recipe":
        """The same for some of the rows, of which nobody knows how many follow.

        The convex problem is solved for them, near what was learned before; else they train
        for one epoch. Their weights can't be scaled to a mean of 1, which would make those of
        different pieces alike: `weight` is the mean that they had.
        """
        return replace(
            self,
            max_epochs=1,
            fine_tune="always",
            schedule=None,
            optimizer_state=optimizer_state,
            piece_weight=weight,
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
        if self._is_convex(stages, rows, begin_with):
            head: Any = None if begin_with is None else begin_with.head[-1]
            of_piece = self.piece_weight is not None
            solving = replace(self, max_epochs="auto") if of_piece else self
            net = solving._solve(rows, validation, head, files)
            module = TransferModule(stages, nn.Sequential(net.module_.float()))
            solved = self._finished(net, module, _records(net, "probe"))
            return solved._replace(optimizer_state=None)  # it means nothing to another solver
        history: History = []
        goes_on = begin_with is not None
        if begin_with is not None:
            _fit_to_steps(begin_with.head[-1], stages)
            module = begin_with
        else:
            head, first, suffices = self._first_head(stages, rows, validation, files)
            module = TransferModule(stages, head)
            if first is not None:
                history = _records(first, "head" if self.hidden_layer_sizes else "probe")
                goes_on = True
                if first.interrupted_ or suffices:
                    return self._finished(first, module, history)
        net = self._descend(module, rows, validation, files, goes_on=goes_on)
        if history and net.kept_beginning_:
            warn(
                "No epoch lowered the validation loss below that of the head alone: early stopping "
                "keeps the head, with untouched stages. Try a smaller lr, or unfreeze_depth=0.",
                TrainingWarning,
            )
        elif history and stages.fixed_statistics:
            self._check_gain(history[-1], net, rows)
        phase = "fine-tune" if len(stages) else "head"
        return self._finished(net, module, history + _records(net, phase))

    def _suffices(self, features: Rows, first: TransferNet) -> bool:
        """Whether the head alone makes too few mistakes for the stages to learn from."""
        # A teacher knows more than the labels, of which mistakes tell.
        if self.fine_tune == "always" or features.targets.teacher is not None:
            return False
        quiet = replace(self, early_stopping=False, verbose=0)
        files = CheckpointFiles(None, str)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the first solution has told
                mistakes, enough = cross_validated_mistakes(
                    features,
                    lambda part: quiet._solve(part, None, None, files),
                    sampling=self.sampling,
                    seed=self.seed,
                )
        except KeyboardInterrupt:
            first.interrupted_ = True
            return True
        if mistakes < enough:
            warn(
                f"Nothing was fine-tuned: cross-validated, the head alone makes {mistakes:.3g} "
                f"mistakes in {enough**2:.0f} training rows, and mending fewer than {enough:.3g}, "
                "their square root, can't be told from chance. Use fine_tune='always' to train "
                "the stages all the same, or unfreeze_depth=0.",
                TrainingWarning,
            )
        return mistakes < enough

    def _check_gain(self, alone: Mapping[str, Any], net: TransferNet, rows: Rows) -> None:
        """Warn if the stages that trained made of the rows less than the head alone had made.

        Told by the losses, where both were of the same rows, network and kind. A little more is
        nothing: a probe of rows that are easily told apart ends near 0.
        """
        harder = self.mixup or self.cutmix or self.dropout or not isinstance(rows.views, FixedViews)
        losses = [row["train_loss"] for row in _records(net, "fine-tune")]
        if harder or not losses or self.loss["loss"] not in CONVEX_LOSSES:
            return
        before, after = alone["train_loss"], min(losses) if self.early_stopping else losses[-1]
        if self.sampling is not None:  # the epochs' losses are of what happened to be drawn
            after = net.loss_of(self._counted(rows.fixed()))
        knowing_nothing = self._knowing_nothing(net, rows)
        if before < knowing_nothing and after - before > _LOST * (knowing_nothing - before):
            warn(
                f"Fine-tuning ended at a training loss of {after:.3g}, far above the {before:.3g} "
                "of the head alone: the unfrozen stages lost more than they learned. Try a smaller "
                f"lr, now {learning_rate(self.lr, at_random=False):.3g}, or gradient_clipping=1.0; "
                "find_lr suggests a rate.",
                ForgettingWarning,
            )

    def _is_convex(
        self, stages: TrainableStages, rows: Rows, begin_with: TransferModule | None
    ) -> bool:
        """Whether there is one best solution: a linear head on frozen features."""
        known = begin_with is None or isinstance(begin_with.head[-1], NormalisedLinear)
        if self.piece_weight is not None and not known:
            return False  # nobody knows how many rows taught a head that was never solved
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
    ) -> tuple[nn.Sequential, TransferNet | None, bool]:
        """A head, what trained it on the pretrained features alone, and whether that suffices.

        Nothing trains a head that is to be random.
        """
        if self.head_init == "random" or (self.hidden_layer_sizes and not len(stages)):
            return self._random_head(stages, rows), None, False
        features, held_out = rows, validation
        if len(stages):
            features = rows.with_X(self._features(stages, rows))
            held_out = validation and validation.with_X(self._features(stages, validation))
        alone = self._alone()
        if self.hidden_layer_sizes:
            nothing = TrainableStages()
            module = TransferModule(nothing, self._random_head(nothing, features))
            net = alone._descend(module, features, held_out, files, "head")
            return module.head, net, False
        net = alone._solve(features, held_out, None, files)
        dropout = [Dropout(self.dropout)] if self.dropout else []
        linear = net.module_.float()
        _fit_to_steps(linear, stages)
        head = nn.Sequential(*dropout, linear)
        suffices = bool(len(stages)) and not net.interrupted_ and alone._suffices(features, net)
        return head, net, suffices

    def _alone(self) -> "Recipe":
        """The same for a head that is trained before the stages.

        Few epochs of fine-tuning must not mean a head that is half solved.
        """
        asked = self.max_epochs
        return replace(
            self,
            max_epochs=asked if isinstance(asked, str) else max(asked, epochs("auto")),
            cutmix=0.0,  # features have no places
            gradual_unfreezing=False,
            callbacks=(),
            optimizer_state=None,
        )

    def _finished(self, net: TransferNet, module: TransferModule, history: History) -> Trained:
        """Drop what only training needs, optimizer state first of all."""
        state = state_on_cpu(net.optimizer_.state_dict()["state"])
        net.trim_for_prediction()
        net.begin_state = net.weight_average_ = None
        # A head may have been solved elsewhere, and on more rows at once.
        net.device, net.batch_size = self.device, self.batch_size
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
        structure = f"{stages} {stages.fixed_statistics}"
        sha = sha256(f"{library_versions()} {described(settings)} {structure}".encode())
        for module in (stages, begin_with):
            sha.update(b"" if module is None else state_digest(module))
        for given in (rows, validation):
            sha.update(b"" if given is None else given.digest())
        return sha.hexdigest()


def _fit_to_steps(linear: nn.Module, stages: TrainableStages) -> None:
    """Give a solved head, in place, the scale in which it is to go on by an optimizer's steps."""
    if isinstance(linear, NormalisedLinear):
        # Beside stages that train, the head must not run ahead; alone it is to get somewhere.
        linear.per_row() if len(stages) else linear.per_feature()


def _records(net: TransferNet, phase: str) -> History:
    keys = ["train_loss", "lr", "valid_loss", "valid_score"]
    scoring = (EpochScoring, BatchScoring)
    keys += [callback.name_ for _, callback in net.callbacks_ if isinstance(callback, scoring)]
    return [
        {
            "phase": phase,
            "epoch": row["epoch"],
            **{key: float(row[key]) for key in keys if key in row},
        }
        for row in net.history
        if "train_loss" in row  # an interrupted epoch has none
    ]

"""The classifier's training: going on with an earlier fit, the recipe, calibration, scores."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sktransfer._common.random import derived_seed
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.estimators.calibration import as_evidence, best_temperature
from sktransfer.estimators.settings import hidden_layer_sizes, training_settings
from sktransfer.estimators.training_data import RowsOfPictures, Seeds
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource
from sktransfer.training.batches import Rows
from sktransfer.training.data import Trained, TrainingData
from sktransfer.training.dry_run import dry_run
from sktransfer.training.net import TransferNet
from sktransfer.training.pace import learning_rate
from sktransfer.training.train import train


class Fitting(RowsOfPictures):
    """The steps of `PretrainedImageClassifier.fit` from rows to a trained net, and predicting.

    What a fit found stays until the next one: ``net_``, ``history_``, ``_structure`` (the
    parameters that the shape of the network depends on) and ``_optimizer_state``.
    """

    # Declared for readers and type checkers; assigned by the subclass's __init__ and by fit.
    hidden_layer_sizes: int | Sequence[int]
    label_smoothing: float
    distill_weight: float
    dropout: float
    gradual_unfreezing: bool | Sequence[int]
    calibrate: str | None
    callbacks: Sequence[Any] | None
    checkpoint_dir: str | Path | None
    tta: int | None
    mc_dropout: int | None
    history_: list[dict[str, Any]]
    net_: TransferNet
    _structure: dict[str, Any]
    _split_key: tuple[int | str, str]
    _optimizer_state: tuple[Any, int | str, Mapping[int, Any] | None]
    optimizer: str | Callable[..., Any]
    lr: float | str

    def _earlier(self) -> Trained | None:
        """What an earlier fit gave, if it can be gone on with."""
        if not hasattr(self, "net_"):
            return None
        self._validate_params()  # depths are compared here
        before, now = self._structure["unfreeze_depth"], self.unfreeze_depth
        deeper = now == "all" or (before != "all" and now >= before)
        for name, value in self._shape_of_network().items():
            # More stages may train than before; those that were trained can't freeze again.
            if value != self._structure[name] and not (name == "unfreeze_depth" and deeper):
                raise ParameterError(
                    f"An earlier fit is to go on, but {name} was {self._structure[name]!r} in it "
                    f"and is {value!r} now. Set it back, or begin anew: fit with warm_start=False."
                )
        optimizer, depth, state = self._optimizer_state
        known = state if (optimizer, depth) == (self.optimizer, now) else None
        return Trained(self.net_, self.history_, known)

    def _shape_of_network(self) -> dict[str, Any]:
        backbone = ("backbone", "weights", "unfreeze_depth", "batch_norm", "image_size")
        given = {name: getattr(self, name) for name in (*backbone, "pooling", "dropout")}
        # A tuple, for a list of the user's may change after the fit.
        return {**given, "hidden_layer_sizes": hidden_layer_sizes(self)}

    def _draw_seeds(self, earlier: Trained | None) -> int:
        """Seeds of this fit; returns that of the weights, for those that begin at random."""
        drawn = check_random_state(self.random_state).randint(2**31 - 1, size=4).tolist()
        if earlier is not None:
            epochs = len(earlier.history)
            # Another split would validate on rows that have trained.
            kept = (self._seeds.weights, self._seeds.split)
            drawn = [*kept, *(derived_seed(seed, epochs) for seed in drawn[len(kept) :])]
        self._seeds = Seeds(*drawn)
        return self._seeds.weights if self.weights is None else 0

    def _try_out(self) -> None:
        """Fail before any picture is read if what the user brings of torch's can't work."""
        names = ("loss", "optimizer", "schedule", "checkpoint_dir", "weight_decay")
        dry_run(
            **{name: getattr(self, name) for name in names},
            lr=learning_rate(self.lr, at_random=True),
            n_classes=len(self.classes_),
            multilabel=self._task.multilabel,
        )

    def _train(
        self,
        stages: TrainableStages,
        rows: Rows,
        validation: Rows | None,
        earlier: Trained | None,
        *,
        piece_weight: float | None = None,
    ) -> Any:
        """Train, and keep what came of it.

        For one epoch on some of all rows, `piece_weight` is what they count on average.
        """
        head = None
        if earlier is not None:  # a copy: a training that fails leaves the earlier one as it was
            before = earlier.net.module_
            for name, stage in before.stages.named_children():
                stages.get_submodule(name).load_state_dict(stage.state_dict())
            head = copy.deepcopy(before.head)
        settings = training_settings(
            self,
            rows,
            task=self._task,
            n_classes=len(self.classes_),
            device=self.device_,
            precision=self._precision,
            seed=self._seeds.training,
        )
        if piece_weight is not None:
            known = None if earlier is None else earlier.optimizer_state
            settings = settings.for_a_piece(known, piece_weight)
        trained = train(settings, TrainingData(stages, rows, validation, head))
        self.history_ = ([] if earlier is None else earlier.history) + trained.history
        self.n_iter_ = len(self.history_)
        # By the numbers of parameters: it means nothing to other stages, or another optimizer.
        state = None if piece_weight is None else trained.optimizer_state
        self._optimizer_state = (self.optimizer, self.unfreeze_depth, state)
        self._structure = self._shape_of_network()
        self._split_key = (self.unfreeze_depth, self.pooling)
        self.temperature_ = 1.0
        if self.calibrate is not None and validation is not None:
            scores = trained.net.scores_of(validation).numpy()
            y, weights = validation.targets.y.numpy(), validation.targets.weights.numpy()
            self.temperature_ = best_temperature(self._task, scores, y, as_evidence(weights))
        self.net_ = trained.net
        return self

    def _predicting(self, images: ImageSource) -> np.ndarray:
        """Scores (n, draws, n_classes) of pictures."""
        then = self.net_.scores
        if self.mc_dropout is not None:
            if not self._structure["dropout"]:  # set after a fit, which would have told
                raise ParameterError(
                    f"mc_dropout={self.mc_dropout} draws from dropout, but the fitted head has "
                    "dropout=0. Fit again with dropout=0.5."
                )
            then = partial(self.net_.drawn_scores, n=self.mc_dropout, seed=self._seeds.training)
        one_pass = self._pass(
            self._loaded_backbone().frozen_network(*self._split_key), "Predicting"
        )
        if self.tta is None:
            passes = [one_pass.collect(images, then)[0]]
        else:
            augmented = self._augmented(images, one_pass)
            numbers = [None, *range(self.tta - 1)]
            passes = [augmented.activations(number, then=then) for number in numbers]
        n = len(images)
        return np.concatenate(
            [scores.numpy().reshape(n, -1, len(self.classes_)) for scores in passes], axis=1
        )


def keeps_earlier(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method that goes on with an earlier fit leave it as it was if something is wrong."""

    @wraps(fit)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            if hasattr(self, "net_"):  # else there was none, or it was to be forgotten
                vars(self).clear()
                vars(self).update(before)
            raise

    return wrapped

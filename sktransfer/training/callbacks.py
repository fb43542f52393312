"""Callbacks of our own nets: record the rate, keep the best epoch, unfreeze stages, show a bar."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import BatchScoring, Callback, EarlyStopping, EpochScoring
from tqdm.auto import tqdm

from sktransfer.exceptions import ParameterError


class RecordRate(Callback):  # type: ignore[misc]
    """Record the head's learning rate at the end of each epoch in the history."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        # The head is the last group; see `learning_rates`.
        net.history.record("lr", net.optimizer_.param_groups[-1]["lr"])


# skorch's callbacks that record the value of a scorer.
SCORING = (EpochScoring, BatchScoring)


def silent(message: str) -> None:
    """Swallow skorch's "Stopping since ...", which it would print."""


# An epoch must lower the loss by this share to count as an improvement for early stopping:
# skorch's own default.
_IMPROVED = 1e-4


class KeepBest(EarlyStopping):  # type: ignore[misc]
    """Stop when the validation loss no longer falls, and keep the best weights.

    The weights that training continues from, of a solved head or an earlier fit, compete too: they
    are kept where no epoch was better. They are not the first value that epochs must improve on:
    fine-tuning often gets worse before it gets better, and would be stopped at once.

    Parameters
    ----------
    patience : int
        Epochs without a lower validation loss after which training stops.
    continues : bool
        Training continues from learned weights. Those of a random head are never kept, even if the
        validation loss of every epoch is higher, as that of an overconfident model may be.
    """

    def __init__(self, patience: int, *, continues: bool) -> None:
        super().__init__("valid_loss", patience, _IMPROVED, load_best=True, sink=silent)
        self.continues = continues

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        super().on_train_begin(net, **kwargs)
        self._beginning = None
        if self.continues:
            # The validation rows are fixed beforehand; skorch's split only hands them out.
            _, validation = net.train_split(None)
            self._beginning = net.loss_of(validation), copy.deepcopy(net.module_.state_dict())

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        super().on_train_end(net, **kwargs)
        if self._beginning is None:
            return
        loss, weights = self._beginning
        if not any(row.get("valid_loss", math.inf) < loss for row in net.history):
            net.module_.load_state_dict(weights)
            net.kept_beginning_ = True


class GradualUnfreezing(Callback):  # type: ignore[misc]
    """Let each stage train from its own epoch on; until then it keeps its values.

    Source: Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification",
    ACL 2018, section 3.3.

    Parameters
    ----------
    begins : mapping of str to int
        The first epoch, counted from 0, in which each stage trains.
    """

    def __init__(self, begins: Mapping[str, int]) -> None:
        self.begins = begins

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        epoch = len(net.history) - 1
        for name, first in self.begins.items():
            net.module_.stages.get_submodule(name).requires_grad_(bool(epoch >= first))

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        # A training that is interrupted early must not leave stages that no later fit can train.
        for name in self.begins:
            net.module_.stages.get_submodule(name).requires_grad_(True)


def first_epochs(
    asked: bool | Sequence[int], depths: Mapping[str, int], max_epochs: int, *, head_first: bool
) -> dict[str, int]:
    """The first epoch, counted from 0, in which each stage trains.

    Parameters
    ----------
    asked : True or sequence of int
        True for equal distances; else the epoch of each depth.
    depths : mapping of str to int
        Depth of each stage, from 1 for the last.
    max_epochs : int
    head_first : bool
        At equal distances, the head has the first part to itself. A random one needs it: its
        first gradients would distort the stages.

    Raises
    ------
    ParameterError
        If the number of epochs is not that of the depths.
    """
    deepest = max(depths.values())
    if isinstance(asked, bool):
        parts, before = deepest + head_first, int(head_first)
        asked = [(i + before) * max_epochs // parts for i in range(deepest)]
    if len(asked) != deepest:
        raise ParameterError(
            f"gradual_unfreezing={list(asked)} names {len(asked)} stages, but unfreeze_depth='all' "
            f"means {deepest}. Give one epoch for each."
        )
    return {name: asked[depth - 1] for name, depth in depths.items()}


class EpochBar(Callback):  # type: ignore[misc]
    """A progress bar of epochs, with losses, score and remaining time.

    Parameters
    ----------
    title : str
    """

    _SHOWN = ("train_loss", "valid_loss", "valid_score")

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Any = None

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        if self._bar is None:  # not before: a checkpoint, which comes last, may know some epochs
            done = len(net.history) - 1
            self._bar = tqdm(total=net.max_epochs, initial=done, desc=self.title, unit="epoch")

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        row = net.history[-1]
        self._bar.set_postfix(
            {key: f"{row[key]:.3g}" for key in self._SHOWN if key in row}, refresh=False
        )
        self._bar.update()

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

"""What happens between epochs: rates written down, the best kept, stages unfrozen, a bar."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from tqdm.auto import tqdm

from sktransfer.exceptions import ParameterError


class RecordRate(Callback):  # type: ignore[misc]
    """Write the head's learning rate at the end of each epoch into the history."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        net.history.record("lr", net.optimizer_.param_groups[-1]["lr"])


def silent(message: str) -> None:
    """Where skorch's "Stopping since ..." goes."""


# Share of a loss by which an epoch must lower it to count for early stopping.
_IMPROVED = 1e-4


class KeepBest(EarlyStopping):  # type: ignore[misc]
    """Stop where the validation loss no longer falls, and keep the best of all that there was.

    What training went on with takes part: a solved head, or an earlier fit, is kept with its
    stages untouched where no epoch was better. It does not stop anything: fine-tuning often
    gets worse before it gets better.

    Parameters
    ----------
    patience : int
        Epochs to wait for a lower validation loss.
    continues : bool
        Whether training continues from something that was learned. A random head was not: it is
        never kept, even if every epoch has a higher validation loss, as overconfident ones may.
    """

    def __init__(self, patience: int, *, continues: bool) -> None:
        super().__init__("valid_loss", patience, _IMPROVED, load_best=True, sink=silent)
        self.continues = continues

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        super().on_train_begin(net, **kwargs)
        self._begun = None
        if self.continues:
            _, validation = net.train_split(None)
            self._begun = net.loss_of(validation), copy.deepcopy(net.module_.state_dict())

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        super().on_train_end(net, **kwargs)
        if self._begun is None:
            return
        loss, weights = self._begun
        if not any(row.get("valid_loss", math.inf) < loss for row in net.history):
            net.module_.load_state_dict(weights)
            net.kept_beginning_ = True


class GradualUnfreezing(Callback):  # type: ignore[misc]
    """Let stages train from some epoch on; until then they keep their values.

    Source: Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification",
    ACL 2018, section 3.3.

    Parameters
    ----------
    begins : mapping of str to int
        First epoch, counted from 0, in which each stage trains.
    """

    def __init__(self, begins: Mapping[str, int]) -> None:
        self.begins = begins

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        epoch = len(net.history) - 1
        for name, first in self.begins.items():
            net.module_.stages.get_submodule(name).requires_grad_(bool(epoch >= first))

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        for name in self.begins:
            net.module_.stages.get_submodule(name).requires_grad_(True)


def first_epochs(
    asked: bool | Sequence[int], depths: Mapping[str, int], max_epochs: int, *, head_first: bool
) -> dict[str, int]:
    """First epoch in which each stage trains, counted from 0.

    Parameters
    ----------
    asked : True or sequence of int
        True for equal parts of all epochs; else the epoch of each depth.
    depths : mapping of str to int
        Depth of each stage, from 1 for the last.
    max_epochs : int
    head_first : bool
        In equal parts: whether the head has the first part to itself, as a random one needs.

    Raises
    ------
    ParameterError
        If there is not one epoch for each depth.
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
    """A progress bar of epochs, with losses, score and the time that remains.

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

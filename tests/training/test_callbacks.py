import pytest
import torch
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import nn

from sktransfer.exceptions import ParameterError
from sktransfer.training import callbacks
from sktransfer.training.callbacks import EpochBar, GradualUnfreezing, first_epochs
from sktransfer.training.module import TransferModule
from tests.training.helpers import (
    CLASSES,
    feature_rows,
    map_rows,
    module_of,
    small_stages,
    trained,
    zero_linear,
)

DEPTHS = {"low": 3, "middle": 2, "high": 1}


@pytest.mark.parametrize(
    ("max_epochs", "head_first", "expected"),
    [
        (9, False, {"high": 0, "middle": 3, "low": 6}),
        (8, True, {"high": 2, "middle": 4, "low": 6}),
        (10, False, {"high": 0, "middle": 3, "low": 6}),
        (1, True, {"high": 0, "middle": 0, "low": 0}),
    ],
)
def test_stages_begin_in_equal_parts_from_the_last_one_down(max_epochs, head_first, expected):
    assert first_epochs(True, DEPTHS, max_epochs, head_first=head_first) == expected


def test_stages_of_one_depth_begin_together():
    begins = first_epochs([1, 4], {"a": 2, "b": 2, "c": 1}, 9, head_first=True)
    assert begins == {"c": 1, "a": 4, "b": 4}


@pytest.mark.parametrize("asked", [[0, 1], (0, 1, 2, 3)])
def test_every_depth_needs_an_epoch(asked):
    with pytest.raises(ParameterError, match=f"names {len(asked)} stages.* means 3"):
        first_epochs(asked, DEPTHS, 9, head_first=False)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_stages_keep_their_values_until_their_epoch(optimizer):
    class Epochs(Callback):
        def __init__(self):
            self.values = []

        def on_epoch_begin(self, net, **kwargs):
            stages = net.module_.stages
            self.values.append({name: first_value(stages, name) for name in ("low", "high")})

    def first_value(stages, name):
        return next(stages.get_submodule(name).parameters()).detach().clone()

    seen = Epochs()
    module = TransferModule(small_stages(), nn.Sequential(nn.Linear(6, CLASSES)))
    net = trained(
        module,
        map_rows(),
        optimizer=optimizer,
        optimizer__weight_decay=0.1,
        max_epochs=4,
        callbacks=[("unfreezing", GradualUnfreezing({"high": 1, "low": 3})), ("seen", seen)],
    )
    ends = {name: first_value(net.module_.stages, name) for name in ("low", "high")}
    values = [*seen.values, ends]
    for name, first in (("high", 1), ("low", 3)):
        moved = [not torch.equal(values[i][name], values[i + 1][name]) for i in range(4)]
        assert moved == [epoch >= first for epoch in range(4)]


def test_after_training_all_stages_may_train_again():
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    module = TransferModule(small_stages(), nn.Sequential(nn.Linear(6, CLASSES)))
    unfreezing = GradualUnfreezing({"high": 1, "low": 3})
    net = trained(
        module, map_rows(), callbacks=[("unfreezing", unfreezing), ("interrupt", Interrupt())]
    )
    assert net.interrupted_
    assert all(parameter.requires_grad for parameter in net.module_.parameters())


class Bar:
    """A bar that records what it would show."""

    made = []

    def __init__(self, **options):
        self.options, self.n, self.shown, self.closed = options, 0, [], False
        Bar.made.append(self)

    def set_postfix(self, shown, refresh):
        self.shown.append(shown)

    def update(self):
        self.n += 1

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(callbacks, "tqdm", Bar)
    return Bar.made


def test_the_bar_moves_once_an_epoch_and_shows_losses_and_score(bars):
    rows = feature_rows()
    net = trained(
        module_of(zero_linear()),
        rows,
        max_epochs=3,
        train_split=predefined_split(rows),
        callbacks=[("bar", EpochBar("Training"))],
    )
    (bar,) = bars
    assert bar.options == {"total": 3, "initial": 0, "desc": "Training", "unit": "epoch"}
    assert bar.n == 3
    assert bar.closed
    last = net.history[-1]
    names = ("train_loss", "valid_loss", "valid_score")
    assert bar.shown[-1] == {name: f"{last[name]:.3g}" for name in names}


def test_the_bar_shows_what_there_is(bars):
    trained(module_of(zero_linear()), feature_rows(), callbacks=[("bar", EpochBar("Training"))])
    assert list(bars[0].shown[-1]) == ["train_loss"]


@pytest.mark.parametrize(("done", "finished"), [(2, False), (3, True)])
def test_the_bar_begins_where_a_checkpoint_does(bars, done, finished):
    class Resume(Callback):
        def on_train_begin(self, net, **kwargs):
            history = [{"epoch": epoch + 1, "batches": []} for epoch in range(done)]
            net.resume(history, finished=finished)

    trained(
        module_of(zero_linear()),
        feature_rows(),
        max_epochs=3,
        callbacks=[("bar", EpochBar("Training")), ("resume", Resume())],
    )
    assert [(bar.options["initial"], bar.n, bar.closed) for bar in bars] == (
        [] if finished else [(2, 1, True)]
    )

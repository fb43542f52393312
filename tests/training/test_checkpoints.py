import itertools
import os
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer._common.left_behind import unfinished_file
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.exceptions import TrainingWarning
from sktransfer.training import checkpoints, lbfgs
from sktransfer.training.checkpoints import Checkpoint, CheckpointFiles, training_identity
from sktransfer.training.data import TrainingData
from sktransfer.training.lbfgs import ProbeNet
from sktransfer.training.net import TransferNet
from sktransfer.training.train import train
from tests.training.helpers import CLASSES, feature_rows, map_rows, settings_of, small_stages


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch):
    """Let L-BFGS take more than a few epochs."""
    monkeypatch.setattr(lbfgs, "_ITERATIONS", 5)


class KilledError(Exception):
    """Ends a training as the end of its process would."""


DESCENT = {"max_epochs": 3, "batch_size": 7, "lr": 1e-2, "head_init": "random"}
STOPPING = {"early_stopping": True, "n_iter_no_change": 1}
# Settings, and whether stages train with the head.
TRAININGS = {
    "cosine": ({"schedule": "cosine", **DESCENT}, True),
    "onecycle": ({"schedule": "onecycle", **DESCENT}, True),
    "plateau": ({"schedule": "plateau", **DESCENT, "max_epochs": 10, "lr": 1.0}, True),
    "no schedule": ({"schedule": None, **DESCENT}, True),
    "class": ({"schedule": torch.optim.lr_scheduler.LinearLR, **DESCENT}, True),
    "sgd": ({"optimizer": "sgd", **DESCENT}, True),
    "numbers of numpy": (
        {
            **DESCENT,
            "optimizer": partial(torch.optim.SGD, momentum=np.float32(0.5)),
            "schedule": partial(
                torch.optim.lr_scheduler.StepLR, step_size=1, gamma=np.float64(0.5)
            ),
            "lr": np.float64(1e-2),
            "lr_decay": np.float64(0.5),
            "weight_decay": np.float64(1e-2),
        },
        True,
    ),
    "average": ({"ema_decay": 0.8, **DESCENT}, True),
    "dropout": ({"dropout": 0.4, **DESCENT}, True),
    "mixup": ({"mixup": 0.4, "cutmix": 1.0, **DESCENT}, True),
    "sampling": ({"sampling": "balanced", **DESCENT}, True),
    "unfreezing": ({"gradual_unfreezing": [1, 2], **DESCENT}, True),
    "float16": ({"precision": "float16", **DESCENT}, True),
    "bfloat16": ({"precision": "bfloat16", **DESCENT}, True),
    "early stopping": ({**DESCENT, **STOPPING, "max_epochs": 30, "lr": 0.1}, True),
    "stopped average": (
        {**DESCENT, **STOPPING, "max_epochs": 30, "lr": 0.2, "ema_decay": 0.5},
        True,
    ),
    "probe and stages": ({**DESCENT, "head_init": "probe"}, True),
    "layers and stages": (
        {**DESCENT, "head_init": "probe", "hidden_layer_sizes": (5,), "dropout": 0.2},
        True,
    ),
    "layers": ({**DESCENT, "hidden_layer_sizes": (5,)}, False),
    "lbfgs": ({"max_epochs": 10}, False),
    "stopped lbfgs": ({"max_epochs": 10, **STOPPING}, False),
}


def run(folder, name="cosine", *, stages=None, validation_seed=5, **changed):
    settings, trains = TRAININGS[name]
    rows = map_rows(n_views=2) if trains else feature_rows()
    validation = (map_rows if trains else feature_rows)(n=12, seed=validation_seed)
    if stages is None:
        stages = small_stages(fixed_statistics=False) if trains else TrainableStages()
    usual = {"seed": 3, "weight_decay": 1e-2, "checkpoint_dir": folder}
    data = TrainingData(stages, rows, validation)
    return train(settings_of(**{**usual, **settings, **changed}), data)


def assert_same(trained, other):
    assert trained.history == other.history
    state, others = trained.net.module_.state_dict(), other.net.module_.state_dict()
    assert state.keys() == others.keys()
    for key in state:
        assert torch.equal(state[key], others[key]), key


def dies_after_writing(monkeypatch, after=1):
    """Let every run die when it has written so many checkpoints."""
    write = Checkpoint._write
    written = itertools.count(1)

    def dying(self, net, **kwargs):
        write(self, net, **kwargs)
        if next(written) % after == 0:
            raise KilledError

    monkeypatch.setattr(Checkpoint, "_write", dying)


def dies_in_the_next_epoch(monkeypatch, step=2):
    """Let every run die in the middle of the epoch after the first one that it wrote down."""
    write, steps = Checkpoint._write, {"written": 0, "since": 0}

    def counting(self, net, **kwargs):
        write(self, net, **kwargs)
        steps.update(written=steps["written"] + 1, since=0)

    def begins(self, net, **kwargs):
        steps.update(written=0, since=0)
        return begin(self, net, **kwargs)

    begin = Checkpoint.on_train_begin
    monkeypatch.setattr(Checkpoint, "_write", counting)
    monkeypatch.setattr(Checkpoint, "on_train_begin", begins)
    for kind in (TransferNet, ProbeNet):

        def dying(self, batch, original=kind.train_step_single, **kwargs):
            steps["since"] += 1
            if steps["written"] and steps["since"] == step:
                raise KilledError
            return original(self, batch, **kwargs)

        monkeypatch.setattr(kind, "train_step_single", dying)


def until_it_ends(folder, name):
    """Train until no process dies; returns the number of deaths and the result."""
    for deaths in range(200):
        try:
            return deaths, run(folder, name)
        except KilledError:
            assert list(folder.iterdir())
    raise AssertionError("no progress")


@pytest.mark.parametrize("name", TRAININGS)
def test_training_that_dies_after_every_epoch_ends_in_the_same(name, tmp_path, monkeypatch):
    whole = run(None, name)
    dies_after_writing(monkeypatch)
    deaths, trained = until_it_ends(tmp_path, name)
    # And once more after the last epoch of each phase, which is where it says it has ended.
    phases = len({row["phase"] for row in whole.history})
    assert len(whole.history) <= deaths <= len(whole.history) + phases
    assert_same(trained, whole)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TRAININGS)
def test_training_that_dies_in_every_epoch_ends_in_the_same(name, tmp_path, monkeypatch):
    whole = run(None, name)
    dies_in_the_next_epoch(monkeypatch)
    deaths, trained = until_it_ends(tmp_path, name)
    assert deaths >= 2
    assert_same(trained, whole)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cosine", "probe and stages", "layers and stages", "lbfgs"])
def test_checkpoints_change_nothing(name, tmp_path):
    trained = run(tmp_path / "new" / "folder", name)
    assert_same(trained, run(None, name))
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.parametrize("name", ["early stopping", "stopped average", "stopped lbfgs"])
def test_the_stopped_trainings_stop(name):
    settings, _ = TRAININGS[name]
    assert 1 < len(run(None, name).history) < settings["max_epochs"]


def test_the_plateau_is_one():
    rates = {row["lr"] for row in run(None, "plateau").history}
    assert len(rates) > 1


def killed(folder, monkeypatch, name="cosine", after=2, **changed):
    """The files of a training that died."""
    with monkeypatch.context() as patch:
        dies_after_writing(patch, after)
        with pytest.raises(KilledError):
            run(folder, name, **changed)
    return set(folder.iterdir())


def test_what_was_learned_is_not_learned_again(tmp_path, monkeypatch):
    killed(tmp_path, monkeypatch)
    epochs = []
    begin = TransferNet.run_single_epoch

    def counted(self, iterator, training, *args, **kwargs):
        epochs.extend([len(self.history)] * training)
        return begin(self, iterator, training, *args, **kwargs)

    monkeypatch.setattr(TransferNet, "run_single_epoch", counted)
    run(tmp_path)
    assert epochs == [3]


def other_stages():
    stages = small_stages(fixed_statistics=False)
    stages.high.append(nn.Identity())
    return stages


@pytest.mark.parametrize(
    "other",
    [
        {"lr": 2e-2},
        {"seed": 4},
        {"max_epochs": 4},
        {"loss": "focal"},
        {"stages": small_stages(fixed_statistics=False, seed=1)},
        {"stages": small_stages(fixed_statistics=True)},
        {"stages": other_stages()},
        {"validation_seed": 6},
    ],
)
def test_other_trainings_in_the_folder_are_let_alone(other, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    theirs = killed(tmp_path, monkeypatch, **other)
    contents = {path: path.read_bytes() for path in theirs}
    assert len(theirs) == 2
    assert_same(run(tmp_path), run(None))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_another_beginning_is_another_training():
    def identity(head):
        data = TrainingData(TrainableStages(), feature_rows(), None, nn.Sequential(head))
        return training_identity(settings_of(), data)

    first, second = nn.Linear(6, CLASSES), nn.Linear(6, CLASSES)
    assert identity(first) == identity(first)
    assert identity(first) != identity(second)


def test_another_library_is_another_training(monkeypatch):
    data = TrainingData(small_stages(), map_rows())
    before = training_identity(settings_of(), data)
    monkeypatch.setattr(checkpoints, "library_versions", lambda: "torch 99")
    assert training_identity(settings_of(), data) != before


def test_functions_are_known_by_what_they_do():
    data = TrainingData(small_stages(), map_rows())

    def identity(lr):
        schedule = lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, lr)  # noqa: E731
        return training_identity(settings_of(schedule=schedule), data)

    assert identity(0.5) == identity(0.5) != identity(0.25)


def test_a_weight_within_many_is_part_of_the_name():
    data = TrainingData(small_stages(), map_rows())

    def identity(weight):
        weights = np.ones(2000)
        weights[1000] = weight
        return training_identity(settings_of("focal", positive_weight=weights), data)

    assert identity(2.0) == identity(2.0) != identity(3.0)


@pytest.mark.parametrize("setting", ["callbacks", "device", "verbose", "checkpoint_dir"])
def test_what_changes_nothing_is_no_part_of_the_name(setting):
    value = {"callbacks": [("a", object())], "device": "cuda:1", "verbose": 2}.get(setting, "b")
    data = TrainingData(small_stages(), map_rows())
    changed = training_identity(settings_of(**{setting: value}), data)
    assert changed == training_identity(settings_of(), data)


def test_a_half_written_file_does_no_harm_and_is_removed(tmp_path, monkeypatch):
    (path,) = killed(tmp_path, monkeypatch)
    with unfinished_file(tmp_path) as unfinished:
        name = unfinished
    name.write_bytes(path.read_bytes()[:100])
    assert_same(run(tmp_path), run(None))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "spoil", [lambda content: content[:-500], lambda _: b"", lambda _: b"garbage"]
)
def test_a_file_that_cannot_be_read_is_told_and_training_begins_anew(tmp_path, monkeypatch, spoil):
    (path,) = killed(tmp_path, monkeypatch)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.warns(TrainingWarning, match=r"can't be read .* begins anew"):
        trained = run(tmp_path)
    assert_same(trained, run(None))
    assert not list(tmp_path.iterdir())


def without(key):
    return lambda state: {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    "spoil",
    [
        *map(without, ["module", "optimizer", "scaler", "average", "callbacks", "history"]),
        lambda _: {},
        lambda _: [1, 2],
        lambda state: {**state, "module": 3},
        lambda state: {**state, "module": {k: v[None] for k, v in state["module"].items()}},
        lambda state: {**state, "module": dict(list(state["module"].items())[1:])},
    ],
)
def test_a_file_that_lacks_something_is_told_and_training_begins_anew(tmp_path, monkeypatch, spoil):
    (path,) = killed(tmp_path, monkeypatch)
    torch.save(spoil(torch.load(path, weights_only=True)), path)
    with pytest.warns(TrainingWarning, match=r"can't be read .* begins anew"):
        trained = run(tmp_path)
    assert_same(trained, run(None))


def test_writing_that_fails_leaves_the_earlier_file(tmp_path, monkeypatch):
    (path,) = killed(tmp_path, monkeypatch)
    before = path.read_bytes()

    def full(_, file):
        file.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.torch, "save", full)
        with pytest.raises(OSError, match=r"^checkpoint_dir=.*disk full.* An earlier one stays"):
            run(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    assert_same(run(tmp_path), run(None))


@pytest.mark.parametrize("name", ["cosine", "average", "lbfgs"])
def test_an_interrupted_training_can_be_gone_on_with(tmp_path, monkeypatch, name):
    whole = run(None, name)
    kind = ProbeNet if name == "lbfgs" else TransferNet
    step = kind.train_step_single

    def interrupted(self, batch, **kwargs):
        if len(self.history) == 2:
            raise KeyboardInterrupt
        return step(self, batch, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "train_step_single", interrupted)
        with pytest.warns(TrainingWarning, match="interrupted"):
            trained = run(tmp_path, name)
    assert len(trained.history) <= 2
    assert len(list(tmp_path.iterdir())) == 1
    assert_same(run(tmp_path, name), whole)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["before it is put in place", "before it is read"])
def test_the_same_training_in_another_process_may_end_and_remove_a_file(
    tmp_path, monkeypatch, when
):
    whole = run(None)
    place, name = (os, "replace") if when == "before it is put in place" else (torch, "load")
    if place is torch:
        killed(tmp_path, monkeypatch)
    does = getattr(place, name)

    def after_the_other_has_ended(*args, **kwargs):
        for path in tmp_path.glob("[!.]*"):
            path.unlink()
        return does(*args, **kwargs)

    monkeypatch.setattr(place, name, after_the_other_has_ended)
    assert_same(run(tmp_path), whole)
    assert not list(tmp_path.iterdir())


def test_a_file_that_an_open_handle_keeps_is_no_reason_to_lose_a_fit(tmp_path, monkeypatch):
    def held(path, **_):
        raise PermissionError(path)  # as on Windows, while another process writes it

    monkeypatch.setattr(checkpoints.Path, "unlink", held)
    assert_same(run(tmp_path), run(None))


def test_without_a_folder_nothing_is_named_or_removed():
    def never():
        raise AssertionError

    files = CheckpointFiles(None, never)
    assert files.path("fine-tune") is None
    files.remove()


def test_each_phase_has_its_file(tmp_path):
    files = CheckpointFiles(tmp_path, lambda: "0123456789abcdef" * 4)
    paths = [files.path(phase) for phase in ("probe", "head", "fine-tune")]
    assert len(set(paths)) == 3
    assert all(path.parent == tmp_path for path in paths)
    assert all(path.name.startswith("0123456789abcdef" * 2 + "-") for path in paths)


def own_loss(weight):
    """Return a loss that is another object, at another address, in each call."""

    def loss(reduction):
        return nn.CrossEntropyLoss(torch.full((CLASSES,), weight), reduction=reduction)

    return loss


@pytest.mark.parametrize("wrapped", [lambda loss: loss, partial])
def test_a_loss_of_the_users_is_told_by_its_code_and_not_by_its_address(wrapped):
    data = TrainingData(TrainableStages(), feature_rows())

    def identity(weight):
        return training_identity(settings_of(wrapped(own_loss(weight))), data)

    assert identity(2.0) == identity(2.0)
    assert identity(2.0) != identity(3.0)

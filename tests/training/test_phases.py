from types import SimpleNamespace

import pytest
from skorch.callbacks import Callback, EpochScoring

from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.phases import Phase, callbacks_of, net_options, records
from tests.training.helpers import feature_rows, settings_of


@pytest.fixture
def files(tmp_path):
    """Files of a training that writes checkpoints."""
    return CheckpointFiles(tmp_path, lambda: "identity")


def names(callbacks):
    return [name for name, _ in callbacks]


def test_phases_have_the_names_of_the_history():
    assert [phase.value for phase in Phase] == ["probe", "head", "fine-tune"]


def test_every_phase_has_a_title_of_its_own():
    assert len({phase.title for phase in Phase}) == len(Phase)


@pytest.mark.parametrize("phase", Phase)
def test_callbacks_that_stop_come_after_those_that_watch(files, phase):
    settings = settings_of(verbose=1, early_stopping=True, callbacks=[("mine", Callback())])
    callbacks = callbacks_of(settings, phase, files, continues=False)
    solved = ["converged"] if phase is Phase.PROBE else []
    assert names(callbacks) == ["bar", "mine", "early_stopping", *solved, "checkpoint"]


def test_a_quiet_training_without_checkpoints_needs_no_callbacks():
    files = CheckpointFiles(None, str)
    assert callbacks_of(settings_of(), Phase.HEAD, files, continues=False) == []


def test_phases_have_checkpoints_of_their_own(files):
    found = {callbacks_of(settings_of(), p, files, continues=False)[-1][1].path for p in Phase}
    assert len(found) == len(Phase)


def test_net_options_are_those_of_the_settings():
    settings = settings_of(seed=5, verbose=2, label_smoothing=0.25)
    options = net_options(settings, settings.loss, None, 7)
    assert options["criterion__label_smoothing"] == 0.25
    assert (options["max_epochs"], options["seed"], options["verbose"]) == (7, 5, 1)
    assert options["train_split"] is None
    assert net_options(settings, settings.loss, feature_rows(), 7)["train_split"] is not None


def test_records_hold_plain_numbers_of_whole_epochs():
    scoring = EpochScoring("accuracy", name="mine").initialize()
    epoch = {"epoch": 1, "train_loss": 2, "lr": 0.5, "mine": 1, "batches": [{}], "dur": 0.1}
    history = [epoch, {"epoch": 2, "lr": 0.5}]  # the second was interrupted
    net = SimpleNamespace(history=history, callbacks_=[("scoring", scoring), ("x", Callback())])
    expected = {"phase": "head", "epoch": 1, "train_loss": 2.0, "lr": 0.5, "mine": 1.0}
    assert records(net, Phase.HEAD) == [expected]


@pytest.mark.parametrize("cut", ["lr", "mine"])
def test_an_epoch_that_was_cut_while_it_was_recorded_is_none(cut):
    scoring = EpochScoring("accuracy", name="mine").initialize()
    epoch = {"epoch": 1, "train_loss": 2, "lr": 0.5, "mine": 1}
    last = {"epoch": 2, **{key: epoch[key] for key in ("train_loss", "lr", "mine") if key != cut}}
    net = SimpleNamespace(history=[epoch, last], callbacks_=[("scoring", scoring)])
    assert [record["epoch"] for record in records(net, Phase.HEAD)] == [1]
    net.history = [{"epoch": 1, "train_loss": 2}]
    assert records(net, Phase.HEAD) == []

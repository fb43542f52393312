import warnings

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from sktransfer.activations.views import FreshViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training import pace
from sktransfer.training.batches import Rows
from sktransfer.training.data import TrainingData
from sktransfer.training.head import Scaled
from sktransfer.training.pace import (
    decay,
    epochs,
    feature_penalty,
    learning_rate,
    warn_if_short,
)
from sktransfer.training.train import train
from tests.training.helpers import CLASSES, feature_rows, map_rows, settings_of, small_stages

LAYERS = {"hidden_layer_sizes": (8,)}
DESCENT = {"optimizer": "adamw", "head_init": "random"}


def easy_rows(n=26):
    """Features without the large mean that makes those of `feature_rows` hard to descend on."""
    rows = feature_rows(n)
    return rows.with_X(2 * (rows.views(0) - 5))


def head(rows=None, begin_with=None, **settings):
    rows = easy_rows() if rows is None else rows
    earlier = None if begin_with is None else begin_with.head
    return train(settings_of(**settings), TrainingData(TrainableStages(), rows, None, earlier))


@pytest.fixture
def fifty_steps(monkeypatch):
    monkeypatch.setattr(pace, "_STEPS_AT_RANDOM", 50)


def test_what_is_given_is_obeyed():
    for at_random in (False, True):
        assert learning_rate(0.7, at_random=at_random) == 0.7
        assert feature_penalty(0.5, pretrained=at_random) == 0.5
        assert decay(0.0, before_stages=at_random) == 0.0
    assert epochs(2) == epochs(2, n_batches=1) == 2
    trained = head(**LAYERS, lr=1e-3, max_epochs=3, schedule=None)
    assert [row["lr"] for row in trained.history] == [1e-3] * 3


@pytest.mark.usefixtures("fifty_steps")
@pytest.mark.parametrize("settings", [LAYERS, DESCENT, {**LAYERS, "mixup": 0.2}], ids=str)
@pytest.mark.parametrize(("batch_size", "expected"), [(32, 50), (7, 13), (2, 10)])
def test_a_random_head_gets_enough_steps_and_at_least_ten_epochs(settings, batch_size, expected):
    trained = head(batch_size=batch_size, schedule=None, **settings)
    rates = [row["lr"] for row in trained.history if row["phase"] == "head"]
    assert rates == [3e-3] * expected


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": "adamw"}, {"dropout": 0.3}, {"mixup": 0.2}, {"loss": "focal"}],
    ids=str,
)
def test_a_solved_head_goes_on_carefully(settings):
    trained = head(schedule=None, **settings)
    assert [row["lr"] for row in trained.history if row["phase"] == "head"] == [3e-4] * 10


@pytest.mark.usefixtures("fifty_steps")
def test_a_random_head_goes_on_as_it_began():
    first = head(schedule=None, **LAYERS)
    again = head(schedule=None, begin_with=first.net.module_, **LAYERS)
    assert [row["lr"] for row in again.history] == [3e-3] * 50


@pytest.mark.usefixtures("fifty_steps")
def test_an_epoch_of_fewer_rows_has_fewer_steps():
    codes = torch.tensor([0] * 20 + [1, 1, 2, 2])
    rows = Rows(feature_rows(24).views, codes)
    settings = {"batch_size": 3, "sampling": "undersample", **LAYERS}
    assert len(head(rows, **settings).history) == 25  # of two batches, of six rows


def test_many_rows_have_ten_epochs():
    assert epochs("auto", n_batches=101) == epochs("auto") == 10
    assert epochs("auto", n_batches=99) == 11


@pytest.mark.usefixtures("fifty_steps")
def test_stages_train_for_ten_epochs_and_slowly():
    for settings in ({}, LAYERS, {"head_init": "random"}):
        data = TrainingData(small_stages(), map_rows())
        history = train(settings_of(schedule=None, **settings), data).history
        tuned = [row["lr"] for row in history if row["phase"] == "fine-tune"]
        assert tuned == [3e-4] * 10
        alone = [row["lr"] for row in history if row["phase"] == "head"]
        assert alone == ([3e-3] * 50 if settings == LAYERS else [])


def test_new_views_are_paid_for_by_the_pass():
    rows = feature_rows()
    fresh = Rows(FreshViews(lambda _: rows.views(0), len(rows), lambda: b""), *rows.targets)
    assert len(head(fresh, **LAYERS).history) == 10


@pytest.mark.parametrize("settings", [LAYERS, DESCENT], ids=str)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_size_of_features_does_not_matter(settings, scale):
    rows = feature_rows()
    scaled = rows.with_X(rows.views(0) * scale)
    ours, theirs = (head(each, max_epochs=20, **settings) for each in (rows, scaled))
    assert torch.allclose(ours.net.scores_of(rows), theirs.net.scores_of(scaled), atol=1e-3)


def test_features_that_are_all_zero_are_not_divided_by_it():
    assert torch.equal(Scaled(torch.zeros(3, 2))(torch.ones(1, 2)), torch.ones(1, 2))
    trained = head(Rows(torch.zeros(6, 2), torch.arange(6) % CLASSES), max_epochs=2, **LAYERS)
    assert torch.isfinite(trained.net.scores_of(feature_rows(6).with_X(torch.zeros(6, 2)))).all()


def test_the_scale_stays_when_training_goes_on():
    first = head(max_epochs=2, **LAYERS)
    rows = feature_rows()
    again = head(
        rows.with_X(rows.views(0) * 9), max_epochs=1, begin_with=first.net.module_, **LAYERS
    )
    assert again.net.module_.head[0].length == first.net.module_.head[0].length


@pytest.mark.parametrize("settings", [LAYERS, DESCENT], ids=str)
def test_who_ends_while_the_loss_falls_is_told(settings):
    with pytest.warns(ConvergenceWarning, match=r"after 4 epochs.*from \d.* Increase max_epochs"):
        head(lr=1e-2, max_epochs=4, **settings)


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([1.0], False),  # one number doesn't fall
        ([1.0, 0.8], True),
        ([1.2, 1.19], True),  # at first a head may know less than nothing
        ([1.0, 0.8, 0.6, 0.5], True),
        ([1.0, 0.52, 0.5, 0.5], False),  # hardly falls
        ([1.0, 0.999, 0.998, 0.997], False),  # noise
        ([0.5, 0.1, 0.08, 0.02], False),  # little is left
        ([1.0, 0.5, 0.9, 0.7], False),  # goes up and down
        ([0.5, 0.5, 0.49, 0.49], False),  # began with a solved head
    ],
)
def test_what_is_fast(losses, told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_short(losses, 1.0)
    assert bool(caught) == told


def test_many_epochs_are_enough():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head(max_epochs=100, lr=0.1, **LAYERS)


def test_a_training_that_was_stopped_is_not_short():
    stopping = {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 30, "lr": 1e-3}
    shuffled = feature_rows(12, seed=1)
    wrong = Rows(shuffled.views, (shuffled.targets.y + 1) % CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = TrainingData(TrainableStages(), feature_rows(), wrong)
        assert len(train(settings_of(**LAYERS, **stopping), data).history) < 30


def test_early_stopping_waits_for_the_rate_to_climb():
    data = TrainingData(TrainableStages(), easy_rows(), easy_rows(24))
    history = train(settings_of(early_stopping=True, **LAYERS), data).history
    assert history[-1]["valid_loss"] < history[0]["valid_loss"] / 2

import matplotlib

matplotlib.use("Agg")

import warnings
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
from torch.optim import SGD

from sktransfer import LearningRateDisplay, find_lr
from sktransfer.activations.streaming import FrozenPass
from sktransfer.exceptions import ParameterError, TrainingWarning
from sktransfer.training.net import TransferNet
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

classifier = partial(make_classifier, backbone=LITE0, hidden_layer_sizes=(16,))


@pytest.fixture
def data():
    return make_pictures(24)


def test_rates_grow_by_a_factor_until_the_loss_is_out_of_hand(data):
    found = find_lr(classifier(), *data, lr_min=1e-5, lr_max=10.0, n_steps=40)
    steps = np.diff(np.log(found.rates))
    np.testing.assert_allclose(steps, np.log(1e6) / 39)
    assert found.rates[0] == pytest.approx(1e-5)
    assert found.losses.min() < found.losses[0]
    assert found.suggestion == found.rates[found.losses.argmin()] / 10


def test_the_suggested_rate_learns(data):
    model = classifier(max_epochs=20, batch_size=8)
    found = find_lr(model, *data, n_steps=60)
    losses = [
        row["train_loss"] for row in model.set_params(lr=found.suggestion).fit(*data).history_
    ]
    assert losses[-1] < 0.7 * losses[0]


def test_the_estimator_stays_as_it_is(data):
    model = classifier(schedule="cosine", max_epochs=3, early_stopping=True)
    before = model.get_params()
    find_lr(model.set_params(validation_fraction=0.25), *data, n_steps=5)
    assert not hasattr(model, "net_")
    assert model.get_params() == {**before, "validation_fraction": 0.25}


@pytest.mark.parametrize("batch_size", [1, 8, 24])
@pytest.mark.parametrize("schedule", ["cosine", "onecycle", None])
def test_it_takes_the_steps_that_it_is_given(data, batch_size, schedule):
    model = classifier(batch_size=batch_size, schedule=schedule, max_epochs=2)
    found = find_lr(model, *data, lr_min=1e-6, lr_max=1e-4, n_steps=11)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 1e-4, 11))
    assert len(found.losses) == 11


def test_it_ends_where_the_loss_is_out_of_hand(data):
    found = find_lr(classifier(batch_size=1), *data, lr_min=1e-3, lr_max=1e9, n_steps=100)
    assert len(found.rates) < 100
    assert (found.losses[:-1] <= 4 * np.minimum.accumulate(found.losses)[:-1]).all()


def test_stages_keep_their_share(data, monkeypatch):
    seen = []
    step = TransferNet._step_optimizer

    def watched(net, step_fn):
        step(net, step_fn)
        seen.append([group["lr"] for group in net.optimizer_.param_groups])

    monkeypatch.setattr(TransferNet, "_step_optimizer", watched)
    model = classifier(hidden_layer_sizes=(), unfreeze_depth=2, lr_decay=0.5)
    found = find_lr(model, *data, lr_max=1e-4, n_steps=5)
    assert len(seen) == len(found.rates) == 5
    for rates, rate in zip(seen, found.rates, strict=True):
        assert rates[-1] == pytest.approx(rate)
        assert min(rates) == pytest.approx(rate / 4)


def test_what_comes_before_is_done_as_in_a_fit(data):
    model = classifier(unfreeze_depth=1, lr=1e-2, batch_size=4)
    found = find_lr(model, *data, lr_min=1e-9, lr_max=1e-8, n_steps=6)
    with warnings.catch_warnings():  # the rate is too high for the stages
        warnings.simplefilter("ignore", TrainingWarning)
        history = model.fit(*data).history_
    heads = [row["train_loss"] for row in history if row["phase"] == "head"]
    assert heads[0] > 2 * heads[-1]
    assert found.losses[-1] < 1.2 * heads[-1]  # the test began with a trained head


def test_the_teacher_of_a_student_stays_fitted(data):
    teacher = classifier(hidden_layer_sizes=()).fit(*data)
    found = find_lr(classifier(distill_from=teacher), *data, n_steps=4)
    assert len(found.rates) == 4
    assert teacher.score(*data) == 1


@pytest.mark.parametrize("gradient_clipping", [None, 1.0])
def test_a_solved_problem_has_no_rate(data, monkeypatch, gradient_clipping):
    monkeypatch.setattr(FrozenPass, "collect", lambda *_: pytest.fail("a picture was read"))
    with pytest.raises(ParameterError, match=r"L-BFGS .* optimizer='adamw'"):
        find_lr(classifier(hidden_layer_sizes=(), gradient_clipping=gradient_clipping), *data)


def test_a_loss_that_is_out_of_hand_at_once_is_told(data):
    model = classifier(optimizer=partial(SGD, momentum=0.9))
    with pytest.raises(ParameterError, match="smaller lr_min"):
        find_lr(model, *data, lr_min=1e25, lr_max=1e30)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lr_min": 1.0, "lr_max": 0.1}, "lr_min < lr_max"),
        ({"lr_min": 0.0}, "lr_min < lr_max"),
        ({"lr_min": np.nan}, "lr_min < lr_max"),
        ({"lr_max": np.inf}, "lr_min < lr_max"),
        ({"n_steps": 2}, "n_steps of at least 3"),
        ({"n_steps": 9.5}, "whole n_steps of at least 3; got 9.5"),
    ],
)
def test_bad_ranges_are_told(data, arguments, words):
    with pytest.raises(ParameterError, match=words):
        find_lr(classifier(), *data, **arguments)


def test_plot():
    rates = np.geomspace(1e-5, 1, 6)
    display = LearningRateDisplay(rates=rates, losses=np.array([3, 2, 1, 0.5, 4, 9.0])).plot()
    assert display.suggestion == pytest.approx(rates[3] / 10)
    assert list(display.line_.get_xdata()) == list(rates)
    assert display.ax_.get_xscale() == "log"
    plt.close(display.figure_)

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktransfer import LearningRateDisplay, PretrainedImageClassifier, find_lr
from sktransfer.exceptions import ParameterError
from tests.conftest import make_pictures


def classifier(**parameters):
    defaults = {"image_size": 32, "device": "cpu", "random_state": 0, "hidden_layer_sizes": (16,)}
    return PretrainedImageClassifier("efficientnet_lite0", **{**defaults, **parameters})


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


def test_stages_keep_their_share(data):
    found = find_lr(classifier(hidden_layer_sizes=(), unfreeze_depth=1), *data, n_steps=5)
    assert len(found.rates) <= 5
    assert found.rates[0] == pytest.approx(1e-6)


def test_a_solved_problem_has_no_rate(data):
    with pytest.raises(ParameterError, match=r"L-BFGS .* optimizer='adamw'"):
        find_lr(classifier(hidden_layer_sizes=()), *data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lr_min": 1.0, "lr_max": 0.1}, "lr_min < lr_max"),
        ({"lr_min": 0.0}, "lr_min < lr_max"),
        ({"n_steps": 2}, "n_steps of at least 3"),
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

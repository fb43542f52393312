from functools import partial

import pytest
import torch
from skorch.callbacks import Callback

from sktransfer.training.schedules import SCHEDULES, schedule_callback, warm_cosine
from tests.training.helpers import feature_rows, module_of, trained, zero_linear

EPOCHS, BATCHES = 10, 4


class Rates(Callback):
    """The rate of each step."""

    def __init__(self):
        self.seen = []

    def on_batch_begin(self, net, training=None, **kwargs):
        if training:
            self.seen.append(net.optimizer_.param_groups[-1]["lr"])


def rates(schedule, lr=0.1):
    callback = schedule_callback(
        schedule, n_steps=EPOCHS * BATCHES, n_epoch=BATCHES, rates=[lr], monitor="train_loss"
    )
    seen = Rates()
    callbacks = [("rates", seen)] + ([] if callback is None else [("schedule", callback)])
    trained(
        module_of(zero_linear()),
        feature_rows(),
        lr=lr,
        batch_size=7,
        max_epochs=EPOCHS,
        optimizer=torch.optim.AdamW,
        callbacks=callbacks,
    )
    assert len(seen.seen) == EPOCHS * BATCHES
    return seen.seen


def test_warm_cosine():
    factors = [warm_cosine(step, 100, 10) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert max(factors) == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert sorted(factors[10:], reverse=True) == factors[10:]


def test_the_climb_takes_an_epoch_or_fifty_steps_at_most():
    def climb(n_steps, n_epoch):
        return [warm_cosine(step, n_steps, n_epoch) for step in range(n_steps)].index(1) + 1

    assert [climb(10_000, n_epoch) for n_epoch in (1, 2, 49, 51, 80)] == [50, 50, 50, 51, 80]
    assert climb(300, 80) == 30


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5])
def test_few_steps_begin_at_the_whole_rate(n_steps):
    assert warm_cosine(0, n_steps, n_steps) == 1
    assert warm_cosine(n_steps, n_steps, n_steps) == pytest.approx(float(n_steps == 1))


def test_after_the_last_step_the_rate_stays_0():
    assert warm_cosine(130, 100, 10) == 0


def test_no_schedule_no_callback():
    options = {"n_steps": 10, "n_epoch": 5, "rates": [0.1], "monitor": "train_loss"}
    assert schedule_callback(None, **options) is None
    for schedule in SCHEDULES:
        assert schedule_callback(schedule, **options) is not None


def test_without_a_schedule_the_rate_stays():
    assert set(rates(None)) == {0.1}


def test_cosine_follows_its_factors():
    n = EPOCHS * BATCHES
    assert rates("cosine") == pytest.approx(
        [0.1 * warm_cosine(step, n, BATCHES) for step in range(n)]
    )


def test_onecycle_climbs_to_the_rate_and_ends_far_below_where_it_began():
    seen = rates("onecycle")
    top = seen.index(max(seen))
    assert seen[top] == pytest.approx(0.1, rel=1e-2)
    assert 0 < top < len(seen) / 2
    assert seen[0] == pytest.approx(0.004)
    assert seen[-1] < seen[0] / 2


@pytest.mark.parametrize(
    "schedule",
    [
        "plateau",
        torch.optim.lr_scheduler.ReduceLROnPlateau,
        partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.1),
        partial(torch.optim.lr_scheduler.ReduceLROnPlateau, threshold=0.01, patience=2),
    ],
    ids=str,
)
def test_plateau_divides_the_rate_by_ten_after_three_epochs_without_a_lower_loss(schedule):
    callback = schedule_callback(schedule, n_steps=1, n_epoch=1, rates=[0.1], monitor="valid_loss")
    losses = iter([3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 1.0])

    class Given(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("valid_loss", next(losses))

    net = trained(
        module_of(zero_linear()),
        feature_rows(),
        max_epochs=7,
        callbacks=[("given", Given()), ("schedule", callback)],
    )
    assert net.history[:, "event_lr"] == pytest.approx([0.1] * 5 + [0.01] * 2)


def test_torchs_schedulers_step_once_an_epoch():
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    expected = [0.1 * 0.5**epoch for epoch in range(EPOCHS) for _ in range(BATCHES)]
    assert rates(schedule) == pytest.approx(expected)

import pytest

from sktransfer.training.optimizers import learning_rates, schedule_callbacks, warm_cosine


def test_rates_fall_from_the_head_down():
    groups = dict(learning_rates(["layer3", "layer4"], lr=1.0, lr_decay=0.5))
    assert groups == {"stages.layer3.*": {"lr": 0.25}, "stages.layer4.*": {"lr": 0.5}}


def test_warm_cosine():
    factors = [warm_cosine(step, 100) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert max(factors) == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert sorted(factors[10:], reverse=True) == factors[10:]


def test_no_schedule_no_callback():
    assert schedule_callbacks(None, 10) == []
    assert len(schedule_callbacks("cosine", 10)) == 1

import math

import pytest

from sktransfer.ranking import speed
from sktransfer.ranking.speed import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """The time that the stopwatch reads, which tests set."""
    now = [100.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    return now


def watched(clock, *batches):
    watch = Stopwatch()
    for seconds, n_rows, n_read in batches:
        clock[0] += seconds
        watch(n_rows, n_read)
    return watch.seconds_per_picture()


def test_the_first_batch_prepares_and_does_not_count(clock):
    assert watched(clock, (9, 64, 64), (2, 64, 64), (1, 32, 32)) == pytest.approx(3 / 96)


def test_the_first_batch_counts_where_the_others_are_few(clock):
    assert watched(clock, (3, 64, 64)) == pytest.approx(3 / 64)
    assert watched(clock, (3, 64, 64), (1, 4, 4)) == pytest.approx(4 / 68)


def test_batches_with_stored_rows_do_not_count(clock):
    assert math.isnan(watched(clock, (1, 64, 0), (1, 64, 63)))
    stored = watched(clock, (5, 64, 0), (9, 64, 64), (7, 64, 10), (2, 64, 64))
    assert stored == pytest.approx(2 / 64)
    assert math.isnan(watched(clock))

import numpy as np
import pytest

from sktransfer.selection.scores import (
    Score,
    best_beyond_error,
    compared,
    smallest_within_error,
)


def test_gains_are_paired_by_row():
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.4  # rows that every candidate gets wrong
    first = np.where(hard, 0.0, 1.0)
    second = first.copy()
    second[np.flatnonzero(hard)[:10]] = 1.0
    scores = compared({"crop": first, "pad": second}, np.ones(400))
    assert scores["crop"] == Score(pytest.approx(first.mean()), 0.0, 0.0)
    assert scores["pad"].mean == pytest.approx(second.mean())
    assert scores["pad"].gain == pytest.approx(10 / 400)
    differences = second - first
    assert scores["pad"].gain_error == pytest.approx(differences.std() / 20)
    # Unpaired, the error of either mean alone is larger than the gain.
    assert first.std() / 20 > scores["pad"].gain_error


def test_a_weight_counts_as_so_many_rows():
    first, second = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 0, 0])
    weights = np.array([3, 2, 1, 1])
    weighted = compared({"a": first, "b": second}, weights)["b"]
    repeated = compared({"a": first.repeat(weights), "b": second.repeat(weights)}, np.ones(7))["b"]
    assert weighted.mean == pytest.approx(repeated.mean)
    assert weighted.gain == pytest.approx(repeated.gain)
    # But it is one observation, so it says less than three.
    assert weighted.gain_error > repeated.gain_error
    doubled = compared({"a": first, "b": second}, 2 * weights)["b"]
    assert doubled == weighted


@pytest.mark.parametrize(
    ("gains", "best"),
    [
        ({"squash": (0.03, 0.02), "pad": (0.01, 0.005)}, "squash"),
        ({"squash": (0.03, 0.04), "pad": (0.01, 0.005)}, "crop"),
        ({"squash": (-0.03, 0.02), "pad": (0.02, 0.01)}, "pad"),
        ({"squash": (0.0, 0.0), "pad": (0.0, 0.0)}, "crop"),
        ({"squash": (-0.1, 0.01), "pad": (-0.2, 0.01)}, "crop"),
    ],
)
def test_the_simplest_candidate_wins_within_one_error(gains, best):
    scores = {"crop": Score(0.7, 0.0, 0.0)}
    scores |= {name: Score(0.7 + gain, gain, error) for name, (gain, error) in gains.items()}
    assert best_beyond_error(scores) == best


def test_rows_of_a_group_are_one_observation():
    first, second = np.array([1.0, 0, 0, 1]), np.array([1.0, 1, 0, 0])
    alone = compared({"a": first, "b": second}, np.ones(4))["b"]
    groups = np.repeat(list("wxyz"), 3)
    alike = compared({"a": first.repeat(3), "b": second.repeat(3)}, np.ones(12), groups)["b"]
    assert alike.gain == pytest.approx(alone.gain)
    assert alike.gain_error == pytest.approx(alone.gain_error)
    unaware = compared({"a": first.repeat(3), "b": second.repeat(3)}, np.ones(12))["b"]
    assert unaware.gain_error < alone.gain_error


@pytest.mark.parametrize(
    ("deeper", "deepest", "expected"),
    [
        (0.5, 0.0, 1),  # clearly better than 0, and the best
        (0.5, 0.51, 1),  # 2 is hardly better
        (0.0, 0.5, 2),
        (-0.5, -0.5, 0),
        (0.01, 0.0, 0),  # better by less than the error
    ],
)
def test_the_smallest_candidate_within_an_error_of_the_best(deeper, deepest, expected):
    rng = np.random.default_rng(0)
    base = rng.normal(size=50)
    noise = rng.normal(scale=0.3, size=(2, 50))
    noise -= noise.mean(axis=1, keepdims=True)
    of_rows = {0: base, 1: base + deeper + noise[0], 2: base + deepest + noise[1]}
    assert smallest_within_error(of_rows, np.ones(50)) == expected


def test_rows_of_a_group_count_once_for_the_smallest_candidate():
    rng = np.random.default_rng(0)
    base, gains = np.zeros(8), rng.normal(0, 0.3, 8)
    gains += 0.05 - gains.mean()  # half of its standard error
    alone = smallest_within_error({0: base, 1: gains}, np.ones(8))
    tiled = {0: np.tile(base, 50), 1: np.tile(gains, 50)}
    together = smallest_within_error(tiled, np.ones(400), np.tile(np.arange(8), 50))
    assert alone == together == 0
    assert smallest_within_error(tiled, np.ones(400)) == 1

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.probe_check import cross_validated_mistakes
from sktransfer.training.solve_head import solve_head
from sktransfer.training.task import OneLabel, SeveralLabels
from tests.training.helpers import CLASSES, feature_rows, settings_of

N = 20


class Solver:
    """Make nets that are wrong for given rows, which are known by their only feature, a number."""

    def __init__(self, wrong=(), interrupted=False):
        self.wrong, self.interrupted = set(wrong), interrupted
        self.learned, self.asked = [], []

    def __call__(self, rows):
        self.learned.append(numbers_of(rows))
        task = SeveralLabels() if rows.targets.y.ndim > 1 else OneLabel()
        return SimpleNamespace(interrupted_=self.interrupted, scores_of=self.scores_of, task=task)

    def scores_of(self, rows):
        numbers = numbers_of(rows)
        self.asked.append(numbers)
        y = rows.targets.y
        right = 2 * (y if y.ndim > 1 else torch.eye(2)[y]) - 1.0
        flip = torch.tensor([-1.0 if number in self.wrong else 1.0 for number in numbers])
        return right * flip[:, None]


def numbers_of(rows):
    return rows[:][0].flatten().int().tolist()


def numbered(y=None, weights=None):
    y = torch.arange(N) % 2 if y is None else y
    return Rows(torch.arange(float(N))[:, None], y, weights)


def count(rows, solver, sampling=None):
    return cross_validated_mistakes(rows, solver, sampling=sampling, seed=0)


def test_every_row_is_asked_once_of_a_head_that_did_not_learn_it():
    solver = Solver(wrong=[3, 8])
    assert count(numbered(), solver) == (2.0, pytest.approx(N**0.5))
    assert sorted(np.concatenate(solver.asked)) == list(range(N))
    for learned, asked in zip(solver.learned, solver.asked, strict=True):
        assert sorted(learned + asked) == list(range(N))
    assert len(solver.asked) == 5


def test_counting_ends_where_it_is_enough():
    solver = Solver(wrong=range(N))
    mistakes, enough = count(numbered(), solver)
    assert len(solver.asked) == 2
    assert mistakes == 8 >= enough


def test_the_seed_says_who_is_asked_when():
    first, again, other = Solver(), Solver(), Solver()
    count(numbered(), first)
    count(numbered(), again)
    cross_validated_mistakes(numbered(), other, sampling=None, seed=1)
    assert first.asked == again.asked != other.asked


def test_rows_count_by_their_weights():
    weights = torch.ones(N)
    weights[8] = 3
    mistakes, enough = count(numbered(weights=weights), Solver(wrong=[8]))
    assert mistakes == pytest.approx(3 * 20 / 22)  # weights of 20 rows sum to 22
    assert enough == pytest.approx(20**0.5)


def test_where_classes_are_sampled_to_be_as_many_each_counts_as_much():
    y = torch.zeros(N, dtype=torch.long)
    y[[3, 8]] = 1
    assert count(numbered(y), Solver(wrong=[3]))[0] == 1
    assert count(numbered(y), Solver(wrong=[3]), "oversample")[0] == pytest.approx(N / 4)


def test_of_several_labels_all_must_be_right():
    y = torch.stack([torch.arange(N) % 2, torch.arange(N) % 3 == 0], dim=1).float()
    assert count(numbered(y), Solver())[0] == 0
    assert count(numbered(y), Solver(wrong=[5]))[0] == 1


def test_two_rows_are_enough_to_ask():
    rows = Rows(torch.arange(2.0)[:, None], torch.arange(2))
    assert count(rows, Solver())[0] == 0


def test_one_row_is_wrong():
    solver = Solver()
    assert count(Rows(torch.ones(1, 1), torch.zeros(1, dtype=torch.long)), solver) == (1, 1)
    assert solver.asked == []


def test_an_interrupt_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        count(numbered(), Solver(interrupted=True))


@pytest.mark.parametrize("sampling", [None, "oversample", "undersample", "balanced"])
def test_solved_heads_are_counted(sampling):
    rows = feature_rows()
    solve = partial(
        solve_head,
        settings_of(sampling=sampling),
        validation=None,
        files=CheckpointFiles(None, str),
    )
    mistakes, enough = count(rows, solve, sampling)
    assert mistakes >= enough  # the classes overlap
    y = rows.targets.y
    told_apart = Rows(torch.eye(CLASSES)[y] + 0.1 * torch.rand(len(y), CLASSES), y)
    assert count(told_apart, solve, sampling)[0] == 0

from dataclasses import replace

import numpy as np
import pytest
import torch

from sktransfer.selection.cross_validation import make_folds, row_scores, row_weights
from sktransfer.training.batches import Rows
from tests.training.helpers import feature_rows, settings_of

Y = np.arange(40) % 4


def is_partition(folds, n):
    held_out = np.concatenate([part for _, part in folds])
    assert sorted(held_out) == list(range(n))
    for learned, part in folds:
        assert not set(learned) & set(part)
        assert len(learned) + len(part) == n


def test_folds_hold_each_row_out_once_and_keep_the_classes_in_proportion():
    folds = make_folds(Y, None, seed=0)
    assert len(folds) == 5
    is_partition(folds, 40)
    assert all(np.bincount(Y[part]).tolist() == [2, 2, 2, 2] for _, part in folds)


def test_folds_come_from_the_seed():
    first, again, other = (make_folds(Y, None, seed)[0][1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("several", [False, True])
def test_groups_stay_together(several):
    groups = np.arange(40) // 4
    y = np.eye(4)[Y] if several else Y
    folds = make_folds(y, groups, seed=0)
    is_partition(folds, 40)
    for learned, part in folds:
        assert not set(groups[learned]) & set(groups[part])


def test_folds_of_several_labels():
    is_partition(make_folds(np.eye(4)[Y], None, seed=0), 40)


@pytest.mark.parametrize(
    ("y", "groups", "n"),
    [
        ([0, 1], None, 0),  # no class has two rows
        ([0], None, 0),
        ([0, 0, 1], None, 2),
        ([0, 0, 0, 1], None, 3),
        ([0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0], 0),
        ([0, 1, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1], 2),
    ],
)
def test_few_rows_make_fewer_folds_or_none(y, groups, n):
    folds = make_folds(np.array(y), groups and np.array(groups), seed=0)
    assert len(folds) == n
    if n:
        is_partition(folds, len(y))


def test_rows_are_scored_by_heads_that_have_not_seen_them():
    # Features that tell the rows apart and nothing else: heads get their own rows right.
    n = 60
    y = torch.from_numpy(np.random.default_rng(0).integers(0, 3, n))
    rows = Rows(torch.eye(n), y)
    scores = row_scores(settings_of(), rows, make_folds(y.numpy(), None, 0))
    assert scores.shape == (n,)
    assert scores.mean() < 0.6


def test_scores_are_high_where_features_tell_the_classes():
    rows = feature_rows(90)
    y = rows.targets.y.numpy()
    told = Rows(10 * torch.eye(3)[rows.targets.y], rows.targets.y)
    assert row_scores(settings_of(), told, make_folds(y, None, 0)).mean() == 1
    middling = row_scores(settings_of(), rows, make_folds(y, None, 0)).mean()
    assert 0.34 < middling < 1


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": (8,)},
        {"dropout": 0.5},
        {"loss": "focal"},
        {"early_stopping": True},
        {"max_epochs": 1},
        {"optimizer": "adamw"},
        {"sampling": "oversample"},
        {"label_smoothing": 0.1},
    ],
)
def test_the_linear_head_scores_for_every_training(parameters):
    rows = feature_rows(60)
    folds = make_folds(rows.targets.y.numpy(), None, 0)
    assert row_scores(settings_of(**parameters), rows, folds).mean() > 0.34


def test_rows_count_as_in_the_loss():
    rows = feature_rows(30)
    np.testing.assert_allclose(row_weights(settings_of(), rows), rows.targets.weights)


def test_sampling_makes_classes_count_equally():
    y = torch.tensor([0] * 9 + [1] * 3)
    weights = row_weights(replace(settings_of(), sampling="oversample"), Rows(torch.ones(12, 2), y))
    assert weights[:9].sum() == pytest.approx(weights[9:].sum())

from dataclasses import replace

import numpy as np
import pytest
import torch

from sktransfer.selection.fold_heads import scores_by_fold
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.losses import RowLoss, convex_loss
from sktransfer.training.pace import decay
from sktransfer.training.solve_head import solve_head
from sktransfer.training.task import SeveralLabels
from tests.training.helpers import feature_rows, settings_of

FOLDS = [np.arange(0, 26, 2), np.arange(1, 26, 2), np.arange(20)]  # the rows that heads learn from


def with_many_features(rows):
    """Make 40 features of six: more than rows."""
    mixing = torch.randn(6, 40, generator=torch.Generator().manual_seed(2))
    return rows.with_X(rows.views(0) @ mixing)


def scores_of(settings, rows):
    shares = torch.zeros(len(FOLDS), len(rows), dtype=torch.float64)
    for share, learned in zip(shares, FOLDS, strict=True):
        weights = rows.targets.weights[learned].double()
        share[learned] = weights / weights.sum()
    loss = RowLoss(
        convex_loss(settings.loss, settings.task),
        settings.task,
        label_smoothing=settings.label_smoothing,
        positive_weight=settings.positive_weight,
    )
    X, targets = rows[:]
    penalty = decay(settings.weight_decay)
    return scores_by_fold(X, targets.y, settings.n_classes, shares, loss, penalty)


def solved_one_by_one(settings, rows):
    files = CheckpointFiles(None, str)
    nets = [
        solve_head(settings, rows.drawn(torch.from_numpy(learned)), None, files)
        for learned in FOLDS
    ]
    return torch.stack([net.scores_of(rows) for net in nets])


@pytest.mark.parametrize("more_features", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"weight_decay": 1.0},
        {"label_smoothing": 0.1},
        {"loss": "binary_cross_entropy"},
        {"loss": "focal"},
    ],
)
def test_they_are_the_heads_that_are_solved_one_by_one(parameters, more_features):
    rows = feature_rows()
    rows = with_many_features(rows) if more_features else rows
    settings = settings_of(**{"weight_decay": 1e-2, **parameters})
    found = scores_of(settings, rows)
    expected = solved_one_by_one(settings, rows)
    # By probabilities: softmax does not change where all scores of a row move together.
    torch.testing.assert_close(found.softmax(2), expected.double().softmax(2), atol=1e-3, rtol=0)


def test_heads_of_several_labels():
    rows = feature_rows()
    y = torch.eye(3)[rows.targets.y]
    y[::5, 0] = 1
    rows = Rows(rows.views, y, rows.targets.weights)
    settings = settings_of("binary_cross_entropy", weight_decay=1e-2, task=SeveralLabels())
    for positive_weight in (None, [1.0, 3.0, 0.5]):
        settings = replace(settings, positive_weight=positive_weight)
        found, expected = scores_of(settings, rows), solved_one_by_one(settings, rows)
        torch.testing.assert_close(found, expected.double(), atol=5e-3, rtol=0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_scale_of_features_does_not_matter(scale):
    rows, settings = feature_rows(), settings_of(weight_decay=1e-2)
    scaled = rows.with_X(scale * rows.views(0))
    torch.testing.assert_close(
        scores_of(settings, scaled), scores_of(settings, rows), atol=1e-3, rtol=0
    )


def test_equal_rows_tell_nothing():
    rows = feature_rows()
    same = rows.with_X(rows.views(0)[:1].expand(len(rows), -1) / 3)
    scores = scores_of(settings_of(), same)
    torch.testing.assert_close(scores, scores[:, :1].expand_as(scores))
    # Nor do those of a single fold, whatever the others look like.
    X = rows.views(0).clone()
    X[FOLDS[0]] = X[0].clone()
    first = scores_of(settings_of(weight_decay=1e-2), rows.with_X(X))[0]
    torch.testing.assert_close(first, first[:1].expand_as(first), atol=1e-3, rtol=0)


def test_the_number_of_threads_changes_no_bit():
    rows, settings = with_many_features(feature_rows()), settings_of()
    before = torch.get_num_threads()
    try:
        found = []
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append(scores_of(settings, rows))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_no_penalty_ends_without_a_warning():
    assert torch.isfinite(scores_of(settings_of(weight_decay=0.0), feature_rows())).all()


def test_an_interrupt_stays_one(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RowLoss, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scores_of(settings_of(), feature_rows())

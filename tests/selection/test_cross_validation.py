import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit

from sktransfer.selection.cross_validation import (
    accuracies,
    log_likelihoods,
    make_folds,
    probabilities,
)
from sktransfer.training.batches import Rows
from sktransfer.training.task import SeveralLabels
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


def accuracy_like(rows, folds, **parameters):
    """Return the geometric mean of the labels' probabilities."""
    found = log_likelihoods(settings_of(**parameters), rows, folds)
    assert found.shape == (len(rows),)
    assert (found <= 0).all()
    return np.exp(found.mean())


def test_heads_have_not_seen_the_rows_that_they_judge():
    # Features that tell the rows apart and nothing else: heads get their own rows right.
    n = 60
    y = torch.from_numpy(np.random.default_rng(0).integers(0, 3, n))
    assert accuracy_like(Rows(torch.eye(n), y), make_folds(y.numpy(), None, 0)) < 0.5


def test_the_likelihood_is_high_where_features_tell_the_classes():
    rows = feature_rows(90)
    folds = make_folds(rows.targets.y.numpy(), None, 0)
    told = Rows(10 * torch.eye(3)[rows.targets.y], rows.targets.y)
    assert accuracy_like(told, folds) > 0.95
    assert 0.34 < accuracy_like(rows, folds, weight_decay=1e-2) < 0.9


def test_the_likelihood_is_that_of_scikit_learn():
    rows = feature_rows(60)
    rows = rows.with_weights(torch.ones(60))
    y = rows.targets.y.numpy()
    folds = make_folds(y, None, 0)
    X = rows.views(0).numpy().astype(float)
    expected = np.empty(60)
    for learned, held_out in folds:
        # The penalty is on features that are centred and divided by their mean length.
        mean = X[learned].mean(0)
        length = np.sqrt(((X[learned] - mean) ** 2).sum(1).mean())
        model = LogisticRegression(C=1 / (1e-2 * len(learned)), tol=1e-10, max_iter=10_000)
        model.fit((X[learned] - mean) / length, y[learned])
        shares = model.predict_proba((X[held_out] - mean) / length)
        expected[held_out] = np.log(shares[np.arange(len(held_out)), y[held_out]])
    found = log_likelihoods(settings_of(weight_decay=1e-2), rows, folds)
    np.testing.assert_allclose(found, expected, atol=1e-4)


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
def test_the_linear_head_judges_for_every_training(parameters):
    rows = feature_rows(60)
    folds = make_folds(rows.targets.y.numpy(), None, 0)
    assert accuracy_like(rows, folds, weight_decay=1e-2, **parameters) > 0.34


def test_a_class_that_a_head_has_not_seen_tells_nothing():
    y = torch.tensor([0, 1] * 10 + [2])
    X = torch.randn(21, 4, generator=torch.Generator().manual_seed(0))
    folds = make_folds(y.numpy(), None, 0)
    first, second = (log_likelihoods(settings_of(), Rows(f * X, y), folds) for f in (1, -3 * X[:1]))
    assert first[20] == second[20] == pytest.approx(-np.log(3))
    assert (first[:20] != second[:20]).all()


def test_several_labels():
    rows = feature_rows(60)
    y = torch.eye(3)[rows.targets.y]
    several = Rows(rows.views, y)
    settings = settings_of("binary_cross_entropy", weight_decay=1e-2, task=SeveralLabels())
    found = log_likelihoods(settings, several, make_folds(y.numpy(), None, 0))
    assert np.exp(found.mean()) > 0.5


def test_classes_without_rows_change_nothing():
    rows = feature_rows(30)
    folds = make_folds(rows.targets.y.numpy(), None, 0)
    few = log_likelihoods(settings_of(weight_decay=1e-2), rows, folds)
    # The 997 others are before, between and behind the three.
    moved = Rows(rows.views, 300 * rows.targets.y + 7, rows.targets.weights)
    many = log_likelihoods(settings_of(n_classes=1000, weight_decay=1e-2), moved, folds)
    np.testing.assert_array_equal(many, few)


def test_targets_are_smoothed_over_classes_without_rows_too():
    rows = feature_rows(30)
    folds = make_folds(rows.targets.y.numpy(), None, seed=0)
    few, many = (
        log_likelihoods(settings_of(n_classes=n, label_smoothing=0.3), rows, folds) for n in (3, 40)
    )
    # The other classes get their share of each target, and so of the probabilities.
    assert many.mean() < few.mean() - 0.2


def test_rows_that_weigh_nothing_beside_another_teach_nothing():
    rows = feature_rows(30)
    weights = torch.zeros(30)  # as float32, which training uses, they are 0
    weights[0] = 30
    folds = make_folds(rows.targets.y.numpy(), None, 0)
    found = log_likelihoods(settings_of(), rows.with_weights(weights), folds)
    alone = next(held_out for _, held_out in folds if 0 in held_out)
    np.testing.assert_allclose(found[alone], -np.log(3))
    assert np.isfinite(found).all()


def test_sampling_counts_in_each_fold():
    y = torch.tensor([0] * 20 + [1] * 5)  # in each fold four rows and one
    X = torch.randn(25, 4, generator=torch.Generator().manual_seed(0)) + 0.5 * y[:, None]
    folds = make_folds(y.numpy(), None, 0)
    rows = Rows(X, y)
    sampled = log_likelihoods(settings_of(sampling="oversample", weight_decay=1e-2), rows, folds)
    weighted = rows.with_weights(torch.where(y == 1, 4.0, 1.0))
    expected = log_likelihoods(settings_of(weight_decay=1e-2), weighted, folds)
    np.testing.assert_allclose(sampled, expected, atol=1e-3)


def test_rows_count_as_in_the_loss():
    rows = feature_rows(30)
    np.testing.assert_allclose(rows.counted(None).targets.weights, rows.targets.weights)


def test_sampling_makes_classes_count_equally():
    y = torch.tensor([0] * 9 + [1] * 3)
    weights = Rows(torch.ones(12, 2), y).counted("oversample").targets.weights
    assert weights[:9].sum() == pytest.approx(weights[9:].sum())


def test_accuracies_are_those_of_scikit_learn():
    rows = feature_rows(60)
    rows = rows.with_weights(torch.ones(60))
    X, y = rows.views(0).numpy().astype(float), rows.targets.y.numpy()
    # They overlap, and leave rows out.
    folds = list(ShuffleSplit(4, train_size=30, test_size=20, random_state=0).split(X))
    expected = []
    for learned, held_out in folds:
        mean = X[learned].mean(0)
        length = np.sqrt(((X[learned] - mean) ** 2).sum(1).mean())
        model = LogisticRegression(C=1 / (1e-2 * len(learned)), tol=1e-10, max_iter=10_000)
        model.fit((X[learned] - mean) / length, y[learned])
        expected.append(model.score((X[held_out] - mean) / length, y[held_out]))
    found = accuracies(settings_of(weight_decay=1e-2), rows, folds)
    np.testing.assert_allclose(found, expected)
    assert found.std() > 0


def test_a_row_of_a_class_that_no_other_row_has_is_a_mistake():
    y = torch.tensor([0, 1] * 10 + [2])
    X = torch.eye(3)[y]
    folds = make_folds(y.numpy(), None, 0)
    found = accuracies(settings_of(), Rows(X, y), folds)
    assert [20 in held_out for _, held_out in folds] == [bool(each < 1) for each in found]


def test_with_several_labels_a_row_is_right_if_all_are():
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]).repeat(10, 1)
    X = torch.cat([y[:, :1], torch.zeros(40, 1)], dim=1)  # it tells of the first label only
    settings = settings_of("binary_cross_entropy", n_classes=2, task=SeveralLabels())
    found = accuracies(settings, Rows(X, y), make_folds(y.numpy(), None, 0))
    assert 0.2 < found.mean() < 0.8
    told = accuracies(settings, Rows(y, y), make_folds(y.numpy(), None, 0))
    assert (told == 1).all()


def test_probabilities_are_those_of_the_head_that_did_not_see_a_row():
    settings, rows = settings_of(), feature_rows(60)
    y = rows.targets.y.numpy()
    folds = make_folds(y, None, seed=0)
    found = probabilities(settings, rows, folds)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(
        np.log(found[np.arange(60), y]), log_likelihoods(settings, rows, folds), atol=1e-6
    )

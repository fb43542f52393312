import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from sktransfer import group_metrics
from sktransfer.exceptions import ParameterError

RNG = np.random.default_rng(0)
N = 200
TRUE = RNG.choice(["ant", "bee", "cat"], N)
PREDICTED = np.where(RNG.random(N) < 0.7, TRUE, RNG.permutation(TRUE))
GROUPS = RNG.choice(["left", "right"], N)


def test_metrics_are_those_of_the_rows_of_a_group():
    table = group_metrics(TRUE, PREDICTED, GROUPS)
    for i, group in enumerate(table.groups):
        mine = group == GROUPS
        matrix = confusion_matrix(TRUE[mine], PREDICTED[mine])
        of = dict(zip(table.metrics, table.values[i], strict=True))
        assert table.counts[i] == mine.sum()
        assert of["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
        for c, name in enumerate(["ant", "bee", "cat"]):
            others = np.delete(matrix, c, axis=0)
            assert of[f"recall ({name})"] == pytest.approx(matrix[c, c] / matrix[c].sum())
            assert of[f"selection_rate ({name})"] == pytest.approx(
                matrix[:, c].sum() / matrix.sum()
            )
            assert of[f"false_positive_rate ({name})"] == pytest.approx(
                others[:, c].sum() / others.sum()
            )
    np.testing.assert_allclose(table.overall[0], np.mean(TRUE == PREDICTED))
    np.testing.assert_allclose(table.difference, np.ptp(table.values, axis=0))
    np.testing.assert_allclose(table.ratio, table.values.min(axis=0) / table.values.max(axis=0))


def test_intervals_of_shares_are_those_of_wilson():
    table = group_metrics(TRUE, PREDICTED, GROUPS, ["accuracy"], confidence=0.9)
    z = norm.ppf(0.95)
    n, share = table.counts, table.values[:, 0]
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(table.low[:, 0], middle - half)
    np.testing.assert_allclose(table.high[:, 0], middle + half)


def test_a_group_without_errors_has_an_interval_of_some_width():
    table = group_metrics(["a", "b"], ["a", "b"], ["x", "x"], ["accuracy"])
    assert table.values[0, 0] == table.high[0, 0] == 1
    assert table.low[0, 0] < 0.5


def test_intervals_of_functions_cover_as_often_as_they_say():
    """Over 100 data sets, 80 % intervals of the accuracy hold the true one in 80 % (+/- 10 %)."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(100):
        right = rng.random(100) < 0.7
        table = group_metrics(
            np.ones(100, int),
            right.astype(int),
            ["x"] * 100,
            {"share": lambda true, predicted: np.mean(true == predicted)},
            confidence=0.8,
            n_resamples=200,
        )
        inside += table.low[0, 0] <= 0.7 <= table.high[0, 0]
    assert 70 <= inside <= 90


def test_functions_take_the_labels_of_a_group():
    metrics = {"balanced": balanced_accuracy_score}
    table = group_metrics(TRUE, PREDICTED, GROUPS, metrics, n_resamples=50)
    again = group_metrics(TRUE, PREDICTED, GROUPS, metrics, n_resamples=50)
    left = GROUPS == "left"
    expected = balanced_accuracy_score(TRUE[left], PREDICTED[left])
    assert table.values[0, 0] == pytest.approx(expected)
    assert table.low[0, 0] < expected < table.high[0, 0]
    np.testing.assert_array_equal(table.low, again.low)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_missing_groups_are_a_group(missing):
    groups = np.array(GROUPS, dtype=object)
    groups[:30] = missing
    table = group_metrics(TRUE, PREDICTED, groups, ["accuracy"])
    assert table.groups == ["left", "right", None]
    assert table.counts[2] == 30
    assert table.values[2, 0] == pytest.approx(np.mean((TRUE == PREDICTED)[:30]))


def test_groups_may_be_of_several_types():
    groups = [1, "1", 2.5, "b"] * 50
    table = group_metrics(TRUE, PREDICTED, groups, ["accuracy"])
    assert len(table.groups) == 4
    assert table.counts.tolist() == [50] * 4


def test_small_groups_are_left_out_of_the_comparison():
    true = np.array(["a", "b"] * 30)
    predicted, groups = true.copy(), np.array(["x"] * 30 + ["y"] * 28 + ["few"] * 2)
    predicted[-2:] = predicted[-2:][::-1]
    table = group_metrics(true, predicted, groups, ["accuracy"])
    assert table.is_small.tolist() == [True, False, False]
    assert table.values[0, 0] == 0
    assert table.difference[0] == 0
    assert group_metrics(true, predicted, groups, ["accuracy"], min_rows=0).difference[0] == 1


def test_a_single_group_has_nothing_to_be_compared_with():
    table = group_metrics(TRUE, PREDICTED, ["x"] * N)
    assert np.isnan(table.difference).all()
    assert np.isnan(table.ratio).all()


def test_a_group_without_a_class_has_no_recall_of_it():
    groups = np.where(TRUE == "cat", "cats", "others")
    table = group_metrics(TRUE, PREDICTED, groups, ["recall"])
    recall = dict(zip(table.metrics, table.values.T, strict=True))["recall (cat)"]
    assert np.isnan(recall[1])
    assert not np.isnan(recall[0])


def test_indicators_have_a_recall_for_each_column():
    true, predicted = (RNG.random((N, 3)) < 0.5).astype(int), (RNG.random((N, 3)) < 0.5).astype(int)
    table = group_metrics(true, predicted, GROUPS, ["accuracy", "recall"])
    assert table.metrics == ("accuracy", "recall (0)", "recall (1)", "recall (2)")
    left = GROUPS == "left"
    assert table.values[0, 0] == pytest.approx((true == predicted).all(axis=1)[left].mean())
    present = left & (true[:, 1] == 1)
    assert table.values[0, 2] == pytest.approx(predicted[present, 1].mean())


def test_classes_may_be_chosen():
    table = group_metrics(TRUE, PREDICTED, GROUPS, ["recall"], classes=["bee"])
    assert table.metrics == ("recall (bee)",)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((TRUE, PREDICTED[:-1], GROUPS), {}, "inconsistent numbers"),
        ((TRUE, PREDICTED, GROUPS[:-1]), {}, "inconsistent numbers"),
        (([], [], []), {}, "no rows"),
        ((TRUE, PREDICTED, GROUPS), {"metrics": ["recal"]}, r"accuracy, recall.*\['recal'\]"),
        ((TRUE, PREDICTED, GROUPS), {"classes": ["dog"]}, r"\['dog'\] are in neither"),
        ((TRUE, PREDICTED, GROUPS), {"confidence": 95}, "between 0 and 1"),
        ((TRUE, np.arange(N), GROUPS), {}, "string"),
        (([1, 2, None], [1, 2, 2], "aab"), {}, "NaN or None, first in row 2"),
        (([np.nan, "b", "a"], ["a", "b", "b"], list("aab")), {}, "NaN or None, first in row 0"),
        ((TRUE, PREDICTED, GROUPS), {"metrics": []}, "names no metric"),
        ((TRUE, PREDICTED, GROUPS), {"metrics": {"f1": "f1"}}, "holds functions"),
        ((TRUE, PREDICTED, GROUPS), {"n_resamples": 0}, "at least 1"),
        ((np.eye(3), np.eye(3)[:, :2], list("aab")), {}, "same classes"),
    ],
)
def test_errors_say_what_is_wrong(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        group_metrics(*arguments, **options)


def test_a_missing_fairlearn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    with pytest.raises(ImportError, match=r"pip install 'sktransfer\[report\]'"):
        group_metrics(TRUE, PREDICTED, GROUPS)


def test_parameter_errors_are_ours():
    with pytest.raises(ParameterError):
        group_metrics(TRUE, PREDICTED, GROUPS, confidence=0)


def test_a_metric_of_one_group_alone_is_not_fair():
    groups = np.where(TRUE == "cat", "cats", "others")
    table = group_metrics(TRUE, PREDICTED, groups, ["recall"], min_rows=0)
    of = dict(zip(table.metrics, table.difference, strict=True))
    assert np.isnan(of["recall (cat)"])
    assert np.isnan(table.ratio[table.metrics.index("recall (cat)")])

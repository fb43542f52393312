from importlib import import_module

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import silhouette_score

from sktransfer import class_separation

IRIS = load_iris()
X, y = IRIS.data, IRIS.target_names[IRIS.target]


def clouds(gap, n=20, seed=0):
    """Return three clouds of points on a line, the third far from the others."""
    rng = np.random.default_rng(seed)
    places = np.repeat([[0, 0], [gap, 0], [100, 0]], n, axis=0)
    return places + rng.normal(size=(3 * n, 2)), np.repeat(["a", "b", "c"], n)


def test_the_scatter_ratio_is_that_of_the_scatter_matrices():
    found = class_separation(X, y, metric="euclidean")
    within = sum(np.cov(X[y == label].T, ddof=0) * (y == label).sum() for label in np.unique(y))
    total = np.cov(X.T, ddof=0) * len(X)
    expected = (np.trace(total) - np.trace(within)) / np.trace(within)
    np.testing.assert_allclose(found.scatter_ratio, expected)


def test_the_silhouette_is_that_of_scikit_learn():
    found = class_separation(X, y, metric="euclidean")
    np.testing.assert_allclose(found.silhouette, silhouette_score(X, y))
    weighted = (found.class_silhouette * found.counts).sum() / found.counts.sum()
    np.testing.assert_allclose(weighted, found.silhouette)


def test_purity_is_the_share_of_nearest_neighbors_of_the_same_class():
    points = np.array([[0.0], [0.1], [1.0], [1.1], [1.15]])
    found = class_separation(points, ["a", "a", "a", "b", "b"], metric="euclidean")
    assert found.purity == 4 / 5
    np.testing.assert_allclose(found.class_purity, [2 / 3, 1])


def test_hard_pairs_come_first():
    found = class_separation(*clouds(gap=2), metric="euclidean")
    assert found.nearest.tolist() == ["b", "a", "b"]
    pairs = found.hard_pairs()
    assert [pair[:2] for pair in pairs] == [("a", "b"), ("b", "c"), ("a", "c")]
    assert pairs[0].overlap > 5 * pairs[1].overlap
    assert found.hard_pairs(1) == pairs[:1]


def test_pairs_among_classes_that_all_overlap_are_hard_too(monkeypatch):
    """All pairs are ranked, and not each class with its nearest only."""
    centres = np.array([[0, 0], [1, 0], [0.9, 0.8], [50, 50], [60, 50]])
    rng = np.random.default_rng(0)
    points = np.repeat(centres, 30, axis=0) + rng.normal(size=(150, 2))
    labels = np.repeat(list("ABCDE"), 30)
    found = class_separation(points, labels, metric="euclidean")
    hardest = found.hard_pairs(3)
    assert {pair[:2] for pair in hardest} == {("A", "B"), ("A", "C"), ("B", "C")}
    assert len(found.hard_pairs(20)) == 10
    assert sorted((pair.overlap for pair in hardest), reverse=True) == [
        pair.overlap for pair in hardest
    ]
    for at_once, most in ((2, 3), (500, 3)):
        module = import_module("sktransfer.inspection.class_separation")
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        monkeypatch.setattr(module, "_MOST_PAIRS", most)
        again = class_separation(points, labels, metric="euclidean").hard_pairs(20)
        assert [pair[:2] for pair in again] == [pair[:2] for pair in hardest]


@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_labels_are_no_class(missing):
    labels = np.array([0.0, 1.0, missing] * 50, dtype=object if missing is None else float)
    for y in (labels, ["a", "b", missing] * 50):
        with pytest.raises(ValueError, match="NaN or None, first in row 2"):
            class_separation(X, y)


@pytest.mark.parametrize("random_state", [np.random.RandomState(0), None])
def test_all_stages_are_measured_on_the_same_rows(random_state):
    stages = class_separation({"a": X, "b": X}, y, max_rows=30, random_state=random_state)
    assert stages["a"].silhouette == stages["b"].silhouette


def test_the_overlap_is_spreads_over_distance():
    points = [[0.0], [2.0], [10.0], [14.0]]
    found = class_separation(points, [0, 0, 1, 1], metric="euclidean")
    np.testing.assert_allclose(found.overlap, (1 + 2) / 11)


def test_more_distance_means_more_separation():
    near, far = (class_separation(*clouds(gap), metric="euclidean") for gap in (1, 20))
    assert far.scatter_ratio != near.scatter_ratio
    for name in ("silhouette", "purity"):
        assert getattr(far, name) > getattr(near, name)
    assert far.overlap[0] < near.overlap[0]


def test_cosine_looks_at_directions_only():
    lengths = np.random.default_rng(0).uniform(0.5, 20, (len(X), 1))
    found, scaled = class_separation(X, y), class_separation(X * lengths, y)
    np.testing.assert_allclose(scaled.scatter_ratio, found.scatter_ratio)
    tiny = class_separation((X * 1e-25).astype(np.float32), y)
    np.testing.assert_allclose(tiny.silhouette, found.silhouette, rtol=1e-4)
    class_separation(np.vstack([X, np.zeros((1, 4))]), [*y, "zero"])


def test_each_stage_of_a_dict():
    found = class_separation({"early": X[:, :1], "late": X}, y)
    assert list(found) == ["early", "late"]
    assert found["late"].purity == class_separation(X, y).purity


def test_many_rows_are_sampled():
    points, labels = clouds(gap=3, n=200)
    found = class_separation(points, labels, metric="euclidean", max_rows=100)
    whole = class_separation(points, labels, metric="euclidean")
    assert found.scatter_ratio == whole.scatter_ratio
    assert found.counts.tolist() == [200, 200, 200]
    np.testing.assert_allclose(found.silhouette, whole.silhouette, atol=0.1)
    assert found.silhouette != whole.silhouette
    again = class_separation(points, labels, metric="euclidean", max_rows=100)
    assert again.silhouette == found.silhouette
    # Two classes at least, however rare one is.
    rare = class_separation(points, ["a"] * 599 + ["b"], max_rows=3)
    assert np.isfinite(rare.silhouette)


def test_degenerate_classes():
    equal = class_separation([[1.0, 0], [1, 0], [0, 1], [0, 1]], [0, 0, 1, 1])
    assert equal.scatter_ratio == np.inf
    assert equal.overlap.tolist() == [0, 0]
    same = class_separation(np.ones((4, 2)), [0, 0, 1, 1])
    assert same.overlap.tolist() == [np.inf, np.inf]
    single = class_separation(X[:5], list("abcde"))
    assert (single.silhouette, single.purity) == (0, 0)


def test_thousands_of_classes():
    labels = np.arange(3000) // 2
    points = np.random.default_rng(0).normal(size=(3000, 4)) + labels[:, None]
    found = class_separation(points, labels, metric="euclidean", max_rows=500)
    assert abs(found.nearest.astype(int) - found.classes).max() < 20


def test_the_repr_tells_all():
    text = repr(class_separation(X, y, metric="euclidean"))
    assert text.splitlines()[0] == "150 rows in 3 classes"
    assert "versicolor and virginica" in text.splitlines()[5]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, y[:5]), {}, "inconsistent numbers of samples"),
        ((X, ["a"] * 150), {}, "holds one only: 'a'"),
        ((X, np.eye(150, 3)), {}, "is an indicator of several"),
        ((np.full((150, 2), np.nan), y), {}, "NaN"),
        ((X[:2], y[[0, -1]]), {}, "minimum of 3"),
        ((X, y), {"metric": "manhattan"}, "metric must be one of"),
        ((X, y), {"max_rows": 2}, "max_rows must be a whole number"),
        (({}, y), {}, "a dict without entries"),
    ],
)
def test_bad_input(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        class_separation(*arguments, **options)

"""class_separation: how far apart the classes lie in a feature space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances, silhouette_samples
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d

from sktransfer.estimators.labels import check_none_missing, is_indicator
from sktransfer.exceptions import ParameterError

METRICS = ("cosine", "euclidean")
# Classes whose distances to all others are computed at once.
_AT_ONCE = 500
# Pairs of classes that are kept.
_MOST_PAIRS = 100


class ClassPair(NamedTuple):
    """Two classes that overlap.

    Parameters
    ----------
    label, nearest : label
        Of a pair in `ClassSeparation.hard_pairs`, the one that sorts first comes first.
    overlap : float
        See `ClassSeparation.overlap`.
    """

    label: Any
    nearest: Any
    overlap: float


@dataclass(frozen=True, eq=False, repr=False)
class ClassSeparation:
    """How far apart the classes lie. Use :func:`class_separation` to make one.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    counts : ndarray of shape (n_classes,)
        Number of rows of each class.
    scatter_ratio : float
        Squared distances of the classes' means to the mean of all rows, over those of the rows
        to the mean of their class; infinite where all rows of a class are equal.
    silhouette : float
        Mean silhouette: 1 where rows are much nearer to their own class than to the next one, 0
        where they lie between the two, and negative where they are nearer to the other.
    purity : float
        Share of rows whose nearest neighbor has the same label.
    class_silhouette, class_purity : ndarray of shape (n_classes,)
        The same of the rows of each class.
    nearest : ndarray of shape (n_classes,)
        The class that each class overlaps with most.
    overlap : ndarray of shape (n_classes,)
        How much: the spreads of the two classes, added, over the distance of their means. 1 means
        that the spreads just meet; more is harder.
    hardest : tuple of ClassPair
        The pairs of classes that overlap most, at most 100, the hardest first.
    """

    classes: np.ndarray
    counts: np.ndarray
    scatter_ratio: float
    silhouette: float
    purity: float
    class_silhouette: np.ndarray
    class_purity: np.ndarray
    nearest: np.ndarray
    overlap: np.ndarray
    hardest: tuple[ClassPair, ...]

    def hard_pairs(self, n: int = 5) -> list[ClassPair]:
        """The pairs of classes that overlap most.

        Parameters
        ----------
        n : int, default=5
            How many, at most 100.

        Returns
        -------
        pairs : list of ClassPair
            The hardest first; each pair once.
        """
        return list(self.hardest[:n])

    def __repr__(self) -> str:
        lines = [
            f"{self.counts.sum()} rows in {len(self.classes)} classes",
            f"scatter ratio    {self.scatter_ratio:z6.3f}",
            f"silhouette       {self.silhouette:z6.3f}",
            f"neighbor purity  {self.purity:z6.3f}",
            "hard pairs",
        ]
        lines += [
            f"  {pair.overlap:5.2f}  {pair.label} and {pair.nearest}" for pair in self.hard_pairs()
        ]
        return "\n".join(lines)


def class_separation(
    features: Any,
    y: Any,
    *,
    metric: str = "cosine",
    max_rows: int = 10_000,
    random_state: Any = 0,
) -> Any:
    """Measure how far apart the classes lie in a feature space, and which pairs are hard.

    Classes that lie apart can be told apart by a simple head on a frozen backbone. Where they
    overlap, another stage, another backbone or unfrozen stages may help, or the labels may be
    wrong.

    Sources: Fukunaga, "Introduction to Statistical Pattern Recognition", 2nd edition, 1990,
    section 10.2 (scatter); Rousseeuw, "Silhouettes", Journal of Computational and Applied
    Mathematics 20, 1987; Davies & Bouldin, "A Cluster Separation Measure", IEEE TPAMI 1, 1979
    (overlap).

    Parameters
    ----------
    features : array-like of shape (n, n_features), or dict of such arrays
        What ``transform`` of a :class:`PretrainedFeatureExtractor` gives. A dict holds the
        features of several stages, by any names.
    y : array-like of shape (n,)
        One label for each row.
    metric : {"cosine", "euclidean"}, default="cosine"
        "cosine" divides each feature vector by its length first, so that only directions count.
    max_rows : int, default=10_000
        Silhouettes and neighbors are those of so many rows, drawn at random, if there are more:
        their cost grows with the square. All rows count for the scatter and the overlap.
    random_state : int, RandomState or None, default=0
        Draws these rows.

    Returns
    -------
    separation : ClassSeparation, or dict of ClassSeparation
        With ``scatter_ratio``, ``silhouette``, ``purity``, and for each class ``nearest`` and
        ``overlap``. A dict if `features` is one.

    Raises
    ------
    ValueError
        If lengths differ, features are not finite, labels are missing, there are fewer than two
        classes or three rows, or a parameter is invalid.

    Examples
    --------
    >>> from sktransfer import PretrainedFeatureExtractor, class_separation, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> extractor = PretrainedFeatureExtractor("efficientnet_lite0")
    >>> separation = class_separation(extractor.fit_transform(paths[::10]), labels[::10])
    >>> 0 < separation.purity < 1
    True
    """
    if metric not in METRICS:
        raise ParameterError(f"metric must be one of {list(METRICS)}; got {metric!r}.")
    if not isinstance(max_rows, Integral) or isinstance(max_rows, bool) or max_rows < 3:
        raise ParameterError(f"max_rows must be a whole number, at least 3; got {max_rows!r}.")
    if isinstance(features, Mapping):
        if not features:
            raise ParameterError("features is a dict without entries: it needs one for each stage.")
        if not isinstance(random_state, Integral):  # the same rows for all stages
            random_state = int(check_random_state(random_state).randint(2**31 - 1))
        return {
            stage: class_separation(
                each, y, metric=metric, max_rows=max_rows, random_state=random_state
            )
            for stage, each in features.items()
        }
    X = check_array(features, dtype=[np.float64, np.float32], ensure_min_samples=3)
    classes, codes = _coded(y, X)
    if metric == "cosine":
        X = _directions(X)
    means, spreads, scatter_ratio = _scatter(X, codes, len(classes))
    overlap, nearest, pairs = _overlap(means, spreads)
    rows = _drawn(codes, max_rows, random_state)
    silhouettes, is_pure = _silhouettes(X[rows], codes[rows]), _is_pure(X[rows], codes[rows])
    return ClassSeparation(
        classes=classes,
        counts=np.bincount(codes, minlength=len(classes)),
        scatter_ratio=scatter_ratio,
        silhouette=float(silhouettes.mean()),
        purity=float(is_pure.mean()),
        class_silhouette=_mean_of_each(silhouettes, codes[rows], len(classes)),
        class_purity=_mean_of_each(is_pure, codes[rows], len(classes)),
        nearest=classes[nearest],
        overlap=overlap,
        hardest=tuple(ClassPair(classes[i], classes[j], value) for value, i, j in pairs),
    )


def _coded(y: Any, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_consistent_length(X, y)
    if is_indicator(y):
        raise ParameterError(
            "class_separation needs one label for each row, and y is an indicator of several. Look "
            "at one column after the other: y[:, 0]."
        )
    check_none_missing(y)
    labels = column_or_1d(y)
    check_none_missing(labels.tolist())
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ParameterError(
            f"class_separation compares classes, and y holds one only: {classes.tolist()[0]!r}."
        )
    return classes, codes


def _directions(X: np.ndarray) -> np.ndarray:
    """Rows of length 1; zeros stay."""
    # First by the largest value: in float32 the squares of very small ones would be 0.
    X = X / _not_zero(abs(X).max(axis=1, keepdims=True))
    return X / _not_zero(np.linalg.norm(X, axis=1, keepdims=True))


def _not_zero(sizes: np.ndarray) -> np.ndarray:
    return np.where(sizes > 0, sizes, np.ones_like(sizes))


def _scatter(
    X: np.ndarray, codes: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean of each class, its spread (root mean square distance to it), and the scatter ratio."""
    means, within = np.empty((n_classes, X.shape[1])), np.empty(n_classes)
    counts = np.bincount(codes, minlength=n_classes)
    of_each = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    for code, rows in enumerate(of_each):
        of_class = X[rows].astype(np.float64)
        means[code] = of_class.mean(axis=0)
        within[code] = ((of_class - means[code]) ** 2).sum()
    between = counts @ ((means - counts @ means / counts.sum()) ** 2).sum(axis=1)
    ratio = between / within.sum() if within.sum() > 0 else np.inf
    return means, np.sqrt(within / counts), float(ratio)


def _overlap(
    means: np.ndarray, spreads: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, int, int]]]:
    """How much each class overlaps with the class that it overlaps with most, and its number.

    Then the overlaps and numbers of the pairs that overlap most.
    """
    pairs: list[tuple[float, int, int]] = []
    overlap, nearest = np.empty(len(means)), np.empty(len(means), dtype=int)
    for start in range(0, len(means), _AT_ONCE):
        some = np.arange(start, min(len(means), start + _AT_ONCE))
        distances = pairwise_distances(means[some], means)
        with np.errstate(divide="ignore", invalid="ignore"):
            overlaps = (spreads[some, None] + spreads) / distances
        # Two classes of equal pictures overlap wholly, even without any spread.
        overlaps[np.isnan(overlaps)] = np.inf
        overlaps[np.arange(len(some)), some] = -np.inf
        nearest[some] = overlaps.argmax(axis=1)
        overlap[some] = overlaps.max(axis=1)
        overlaps[np.arange(len(means)) <= some[:, None]] = -np.inf  # each pair once
        n_kept = min(_MOST_PAIRS, overlaps.size)
        largest = np.argpartition(overlaps, -n_kept, axis=None)[-n_kept:]
        rows, others = np.unravel_index(largest, overlaps.shape)
        values = overlaps[rows, others]
        found = zip(values.tolist(), some[rows].tolist(), others.tolist(), strict=True)
        pairs += [pair for pair in found if pair[0] > -np.inf]
    pairs.sort(key=lambda pair: (-pair[0], *pair[1:]))
    return overlap, nearest, pairs[:_MOST_PAIRS]


def _drawn(codes: np.ndarray, max_rows: int, random_state: Any) -> np.ndarray:
    """At most so many rows, in order; two classes at least."""
    if len(codes) <= max_rows:
        return np.arange(len(codes))
    shuffled = check_random_state(random_state).permutation(len(codes))
    other = shuffled[codes[shuffled] != codes[shuffled[0]]][0]
    rest = shuffled[1:][shuffled[1:] != other][: max_rows - 2]
    return np.sort([shuffled[0], other, *rest])


def _silhouettes(X: np.ndarray, codes: np.ndarray) -> np.ndarray:
    if len(np.unique(codes)) == len(codes):  # no row has another one of its class
        return np.zeros(len(codes))
    return np.asarray(silhouette_samples(X, codes))


def _is_pure(X: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Whether the nearest other row of each row has its label."""
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(X)
    return np.asarray(codes[search.kneighbors(return_distance=False)[:, 0]] == codes)


def _mean_of_each(values: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Mean of each class; NaN for a class without rows."""
    counts = np.bincount(codes, minlength=n_classes)
    sums = np.bincount(codes, weights=values, minlength=n_classes)
    return np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)

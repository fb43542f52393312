"""group_metrics: how well a classifier does for each group of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import unique_labels

from sktransfer.estimators.labels import check_none_missing, is_indicator, is_missing
from sktransfer.exceptions import ParameterError
from sktransfer.inspection.group_table import GroupMetrics
from sktransfer.inspection.intervals import wilson

Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class _Share:
    """A metric that is a share of rows: those in `hits` among those in `among`, (n,) bool."""

    among: np.ndarray
    hits: np.ndarray

    def value(self, rows: np.ndarray) -> float:
        among = self.among[rows]
        return float(self.hits[rows][among].mean()) if among.any() else float("nan")

    def interval(self, rows: np.ndarray, confidence: float) -> tuple[float, float]:
        return wilson(self.hits[rows][self.among[rows]], confidence)


@dataclass(frozen=True)
class _Function:
    """A metric of the user's own."""

    metric: Metric
    y_true: np.ndarray
    y_pred: np.ndarray
    n_resamples: int
    seed: int

    def value(self, rows: np.ndarray) -> float:
        return float(self.metric(self.y_true[rows], self.y_pred[rows]))

    def interval(self, rows: np.ndarray, confidence: float) -> tuple[float, float]:
        # A generator for each interval: it does not depend on the other groups and metrics.
        draws = np.random.default_rng(self.seed).integers(
            len(rows), size=(self.n_resamples, len(rows))
        )
        values = [self.value(rows[draw]) for draw in draws]
        outside = (1 - confidence) / 2
        low, high = np.nanquantile(values, [outside, 1 - outside])
        return float(low), float(high)


# Metrics of a class, from (n,) bools: which pictures are of the class, and for which ones it is
# predicted.
_OF_CLASSES: dict[str, Callable[[np.ndarray, np.ndarray], _Share]] = {
    "recall": _Share,
    "selection_rate": lambda true, predicted: _Share(np.ones_like(true), predicted),
    "false_positive_rate": lambda true, predicted: _Share(~true, predicted),
}
METRICS = ("accuracy", *_OF_CLASSES)


def group_metrics(
    y_true: Any,
    y_pred: Any,
    groups: Any,
    metrics: Sequence[str] | Mapping[str, Metric] = METRICS,
    *,
    classes: Any = None,
    confidence: float = 0.95,
    min_rows: int = 20,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> GroupMetrics:
    """Compare groups of pictures, such as those of each camera, hospital or species.

    Metrics and their comparison are made by fairlearn's ``MetricFrame`` (extra ``report``).

    Parameters
    ----------
    y_true : array-like of shape (n,), or indicator of shape (n, n_classes)
        Labels.
    y_pred : array-like of the same shape
        Predicted labels.
    groups : array-like of shape (n,)
        The group of each row. Missing values (None, NaN) are a group of their own, None.
    metrics : sequence of str, or mapping of str to callable
        Of "accuracy" and, for each class, "recall", "selection_rate" (the share of pictures for
        which the class is predicted) and "false_positive_rate" (the same among pictures of other
        classes). Or names and functions ``metric(y_true, y_pred) -> float``.
    classes : array-like, optional
        Classes whose recall, selection rate and false positive rate are given; by default all
        that occur. Column numbers for an indicator.
    confidence : float, default=0.95
        Of the intervals.
    min_rows : int, default=20
        Smaller groups are marked as `is_small`, and the largest difference and ratio leave them
        out: by chance alone, they would nearly always have the extreme values.
    n_resamples : int, default=1000
        Bootstrap samples of the rows of a group, for functions.
    random_state : int, default=0
        Seed of these samples.

    Returns
    -------
    table : GroupMetrics
        With the attributes `groups`, `counts`, `metrics`, `values`, `low`, `high`, `overall`,
        `difference`, `ratio` and `is_small`, and the method ``to_frame()``.

    Raises
    ------
    ValueError
        If lengths differ, there is no row, a metric is unknown, or y and predictions are not
        labels of one kind.
    ImportError
        If fairlearn is missing.

    Notes
    -----
    The interval of a share is Wilson's score interval (E. B. Wilson, "Probable inference, the law
    of succession, and statistical inference", JASA 22, 1927, p. 209), which covers small groups
    and shares of 0 and 1 well (Brown, Cai & DasGupta, "Interval estimation for a binomial
    proportion", Statistical Science 16, 2001, p. 101). A bootstrap gives an interval of no width
    where all of five predictions are right, so it serves for functions only (percentiles; Efron
    & Tibshirani, "An introduction to the bootstrap", 1993, p. 168).

    The intervals are for each group alone. Among many groups, some lie apart by chance.

    Examples
    --------
    >>> from sktransfer import group_metrics
    >>> true, predicted = ["cat", "dog"] * 20, ["cat", "dog", "cat", "cat"] * 10
    >>> places = ["indoors"] * 20 + ["outdoors"] * 20
    >>> table = group_metrics(true, predicted, places, ["accuracy", "recall"])
    >>> table.groups, table.metrics
    (['indoors', 'outdoors'], ('accuracy', 'recall (cat)', 'recall (dog)'))
    >>> table.values
    array([[0.75, 1.  , 0.5 ],
           [0.75, 1.  , 0.5 ]])
    >>> table.low.round(2)
    array([[0.53, 0.72, 0.24],
           [0.53, 0.72, 0.24]])
    """
    if not 0 < confidence < 1:
        raise ParameterError(
            f"confidence must lie between 0 and 1, as 0.95 does, but is {confidence!r}."
        )
    if n_resamples < 1:
        raise ParameterError(f"n_resamples must be at least 1, but is {n_resamples!r}.")
    outcome = _Outcome.of(y_true, y_pred)
    of_rows, names = _group_codes(groups)
    check_consistent_length(outcome.right, of_rows)
    columns = _columns(metrics, outcome, classes, n_resamples, random_state)
    rows_of = [np.flatnonzero(of_rows == code) for code in range(len(names))]
    counts = np.array([len(rows) for rows in rows_of])
    intervals = np.array(
        [[each.interval(rows, confidence) for each in columns.values()] for rows in rows_of]
    )
    frame = _frame(columns, np.arange(len(of_rows)), of_rows)
    large = np.flatnonzero((counts >= min_rows)[of_rows])
    return GroupMetrics(
        groups=names,
        counts=counts,
        is_small=counts < min_rows,
        metrics=tuple(columns),
        values=frame.by_group.to_numpy(dtype=float),
        low=intervals[:, :, 0],
        high=intervals[:, :, 1],
        overall=np.array([frame.overall[name] for name in columns], dtype=float),
        **_compared(columns, large, of_rows[large]),
        confidence=confidence,
        frame=frame,
    )


@dataclass(frozen=True)
class _Outcome:
    """Labels and predictions of one kind.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,), or (n, n_classes)
    classes : list
        Labels, or column numbers of an indicator.
    """

    y_true: np.ndarray
    y_pred: np.ndarray
    classes: list[Any]

    @classmethod
    def of(cls, y_true: Any, y_pred: Any) -> _Outcome:
        check_consistent_length(y_true, y_pred)
        if is_indicator(y_true):
            true, predicted = (_dense(y) for y in (y_true, y_pred))
            if true.shape != predicted.shape:
                raise ParameterError(
                    f"y_true is an indicator of shape {true.shape}, but y_pred has the shape "
                    f"{predicted.shape}. Give predictions of the same classes."
                )
            return cls(true, predicted, list(range(true.shape[1])))
        for name, y in (("y_true", y_true), ("y_pred", y_pred)):
            check_none_missing(y if isinstance(y, list | tuple) else np.asarray(y).tolist(), name)
        true, predicted = column_or_1d(y_true), column_or_1d(y_pred)
        if not len(true):
            raise ParameterError("y_true has no rows.")
        # Raises where one holds words and the other numbers, or one is continuous.
        return cls(true, predicted, unique_labels(true, predicted).tolist())

    @property
    def right(self) -> np.ndarray:
        """Rows (n,) whose labels are all right."""
        right = np.asarray(self.y_true == self.y_pred)
        return right if right.ndim == 1 else np.asarray(right.all(axis=1))

    def of_class(self, label: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) of a class, and rows for which it is predicted."""
        if self.y_true.ndim == 1:
            return self.y_true == label, self.y_pred == label
        return self.y_true[:, label] > 0, self.y_pred[:, label] > 0


def _dense(y: Any) -> np.ndarray:
    return np.asarray(y.toarray() if hasattr(y, "toarray") else y)


def _group_codes(groups: Any) -> tuple[np.ndarray, list[Any]]:
    """The position (n,) of each row's group, and the groups in order; None holds missing ones."""
    # A list of objects keeps what NumPy would turn into text, such as numbers beside words.
    values = column_or_1d(np.asarray(groups, dtype=object)).tolist()
    values = [None if is_missing(value) else value for value in values]
    found = set(values)
    try:
        names = sorted(found - {None})
    except TypeError:  # of several types
        names = sorted(found - {None}, key=lambda name: (type(name).__name__, repr(name)))
    names += [None] if None in found else []
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes[value] for value in values], dtype=np.int64), names


def _columns(
    metrics: Sequence[str] | Mapping[str, Metric],
    outcome: _Outcome,
    classes: Any,
    n_resamples: int,
    seed: int,
) -> dict[str, _Share | _Function]:
    """The metrics of the table, by name."""
    if not metrics:
        raise ParameterError(f"metrics={metrics!r} names no metric. Leave it out for all.")
    if isinstance(metrics, Mapping):
        if not all(map(callable, metrics.values())):
            raise ParameterError(
                "A dict of metrics holds functions metric(y_true, y_pred), such as "
                f"sklearn.metrics.balanced_accuracy_score; got {dict(metrics)!r:.80}."
            )
        return {
            name: _Function(metric, outcome.y_true, outcome.y_pred, n_resamples, seed)
            for name, metric in metrics.items()
        }
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    if unknown := [name for name in wanted if name not in METRICS]:
        raise ParameterError(
            f"metrics may be some of {', '.join(METRICS)}, or a dict of names and functions "
            f"metric(y_true, y_pred), but got {unknown}."
        )
    chosen = outcome.classes if classes is None else list(np.asarray(classes).tolist())
    if strange := [label for label in chosen if label not in outcome.classes]:
        raise ParameterError(f"classes {strange} are in neither y_true nor y_pred.")
    columns: dict[str, _Share | _Function] = {}
    for name in wanted:
        if name == "accuracy":
            columns[name] = _Share(np.ones(len(outcome.right), dtype=bool), outcome.right)
            continue
        for label in chosen:
            columns[f"{name} ({label})"] = _OF_CLASSES[name](*outcome.of_class(label))
    return columns


def _frame(columns: Mapping[str, _Share | _Function], rows: np.ndarray, codes: np.ndarray) -> Any:
    """The table of metrics by group."""
    try:
        # Imported here, because fairlearn is an optional dependency.
        from fairlearn.metrics import MetricFrame  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "group_metrics needs fairlearn: pip install 'sktransfer[report]'."
        ) from error
    # It is given row numbers in place of labels, since it would take no indicator.
    metrics = {
        name: lambda chosen, _, column=column: column.value(np.asarray(chosen))
        for name, column in columns.items()
    }
    return MetricFrame(metrics=metrics, y_true=rows, y_pred=rows, sensitive_features=codes)


def _compared(
    columns: Mapping[str, _Share | _Function], rows: np.ndarray, codes: np.ndarray
) -> dict[str, np.ndarray]:
    """Largest difference, and ratio of the smallest to the largest value, over groups."""
    nothing = np.full(len(columns), np.nan)
    if len(np.unique(codes)) < 2:
        return {"difference": nothing, "ratio": nothing}
    frame = _frame(columns, rows, codes)
    compared = {"difference": frame.difference(), "ratio": frame.ratio()}
    # A single group that a metric is about would differ from nothing, and look fair.
    comparable = frame.by_group.notna().sum() > 1
    return {
        what: np.array([of[name] if comparable[name] else np.nan for name in columns], dtype=float)
        for what, of in compared.items()
    }

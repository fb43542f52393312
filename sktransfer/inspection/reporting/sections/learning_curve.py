"""How the accuracy grows with the number of training pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from sktransfer.exceptions import UnreadableImageError
from sktransfer.inspection.intervals import wilson
from sktransfer.inspection.readable import readable_rows
from sktransfer.inspection.reporting.blocks import Block, Plot, Section, Table, Text
from sktransfer.inspection.reporting.drawing import draw_curve, drawn
from sktransfer.inspection.reporting.material import Material, Part

_TITLE = "Learning curve"
_SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)


def section(material: Material) -> Section | None:
    """A curve, with its figures; None if it was not asked for."""
    if not material.learning_curve:
        return None
    if _is_fitted(clone(material.subject.estimator)):
        why = (
            "A part of the classifier is frozen, so clones of it can't be fitted on fewer pictures."
        )
        return Section("learning-curve", _TITLE, [Text(why)])
    points, failures = _points(material)
    notes: list[Block] = [Text(failure, is_warning=True) for failure in failures]
    if len(points) < 2:
        return Section("learning-curve", _TITLE, notes)
    return Section(
        "learning-curve",
        _TITLE,
        [
            Text(_trend(points)),
            Plot(
                drawn(lambda axes: _draw(axes, points), "learning-curve"),
                "Accuracy on the test pictures against the number of training pictures; the table "
                "below has its points.",
                "One fit for each number of training pictures. Bars are 95 % intervals (Wilson).",
            ),
            Table(
                ["training pictures", "accuracy", "from", "to"],
                points,
                "The points of the curve. Each larger set holds the smaller ones.",
            ),
            *notes,
        ],
    )


def _is_fitted(estimator: Any) -> bool:
    """Tell if a clone is fitted, as FrozenEstimator and what holds one are."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _points(material: Material) -> tuple[list[list[Any]], list[str]]:
    """Points of the curve, and sentences about fits that failed: some need more rows."""
    assert material.train is not None
    try:
        return _points_of(material, material.train)
    except UnreadableImageError:
        if material.train.pictures is None:
            raise
    # Files are looked at only now: nearly always, none is damaged.
    readable = np.flatnonzero(readable_rows(material.train.pictures))
    return _points_of(material, material.train.taken(readable))


def _points_of(material: Material, train: Part) -> tuple[list[list[Any]], list[str]]:
    test, points, failures = material.test, [], []
    for rows in _growing(train, material.seed):
        fitted = _unfitted(material)
        try:
            fitted.fit(_safe_indexing(train.X, rows), train.y[rows])
            right = np.asarray(fitted.predict(test.X) == test.y)
        except UnreadableImageError:
            raise
        # Whatever a classifier raises for few rows, the other sections of the report are worth it.
        except (ValueError, RuntimeError) as error:
            failures.append(f"No fit on {len(rows)} training pictures: {error}")
            continue
        hits = np.asarray(right if right.ndim == 1 else right.all(axis=1))
        points.append([len(rows), float(hits.mean()), *wilson(hits)])
    return points, failures


def _growing(train: Part, seed: int) -> Iterator[np.ndarray]:
    """Rows of each training set, with all classes in nearly equal shares."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train))
    if train.y.ndim > 1:
        parts = [_with_all_labels_first(order, train.y)]
    else:
        codes = np.unique(train.y, return_inverse=True)[1].reshape(-1)
        parts = [order[codes[order] == c] for c in range(codes.max() + 1)]
    fewest = 2 if train.y.ndim == 1 else 2 * train.y.shape[1]
    for share in _SHARES:
        taken = [part[: max(fewest, round(share * len(part)))] for part in parts]
        yield np.sort(np.concatenate(taken))


def _with_all_labels_first(order: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Begin with a row that has each label and one that has it not: no fit can do without."""
    first = [
        order[y[order, column] == present][:1] for column in range(y.shape[1]) for present in (0, 1)
    ]
    needed = np.unique(np.concatenate(first))
    return np.concatenate([needed, order[~np.isin(order, needed)]])


def _unfitted(material: Material) -> Any:
    """A clone whose steps keep activations, so that each picture runs once for all fits."""
    estimator, network = clone(material.subject.estimator), material.runner.network
    if network is None:
        return estimator
    without = [
        name
        for name, value in estimator.get_params().items()
        if name.split("__")[-1] == "cache" and value is None
    ]
    return estimator.set_params(**dict.fromkeys(without, network.cache))


def _trend(points: list[list[Any]]) -> str:
    (_, before, *_), (_, last, low, _) = points[-2:]
    if before < low:
        return "The accuracy still grows: more training pictures will help."
    return (
        f"The last step, from {points[-2][0]} to {points[-1][0]} training pictures, changed the "
        f"accuracy by {last - before:+.3f}, which is within the noise of the test pictures."
    )


def _draw(axes: Any, points: list[list[Any]]) -> None:
    n, accuracy, low, high = (np.array(column) for column in zip(*points, strict=True))
    draw_curve(axes, n, accuracy, low, high)
    axes.set(xlabel="training pictures", ylabel="accuracy on the test pictures")

"""Scores on the test pictures, with intervals, beside a baseline that looks at no picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sktransfer.inspection.intervals import wilson
from sktransfer.inspection.reporting.blocks import Block, Section, Table, Text
from sktransfer.inspection.reporting.material import Material

N_RESAMPLES = 1000
# With fewer test pictures, bootstrap intervals are known to be too narrow.
FEW_ROWS = 30


@dataclass(frozen=True)
class Score:
    """A score, with a 95 % interval.

    Parameters
    ----------
    name, meaning : str
    value, low, high, baseline : float
        The baseline's score is NaN where it has none.
    """

    name: str
    meaning: str
    value: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True)
class _Metric:
    """How a score is made from some rows, which may occur several times."""

    name: str
    meaning: str
    of_rows: Callable[[np.ndarray], float]
    baseline: float = float("nan")


def section(material: Material) -> Section:
    """A table of scores."""
    table = Table(
        ["score", "value", "from", "to", "baseline", "meaning"],
        [
            [each.name, each.value, each.low, each.high, each.baseline, each.meaning]
            for each in scores(material)
        ],
        f"Scores on the {len(material.test)} test pictures, with 95 % intervals: Wilson's for the "
        f"accuracy, the percentiles of {N_RESAMPLES} bootstrap samples of the pictures for the "
        f"others. {_baseline_text(material)}",
    )
    return Section("scores", "Scores", [*_warnings(material), table])


def accuracy(material: Material) -> Score:
    """The share of pictures whose labels are all predicted correctly."""
    # A bootstrap has no width where all predictions are right.
    ends, share = wilson(material.right), float(material.right.mean())
    meaning = "share of pictures whose prediction is right"
    return Score("accuracy", meaning, share, *ends, _chance(material))


def scores(material: Material) -> list[Score]:
    """All scores that the predictions allow, the accuracy first."""
    metrics = [_f1_of_labels(material)] if material.multilabel else _of_classes(material)
    if material.probabilities is not None and not material.multilabel:
        metrics += _of_probabilities(material)
    return [accuracy(material), *_with_intervals(material, metrics)]


def log_losses(material: Material) -> np.ndarray:
    """The loss (n,) of each picture."""
    # As scikit-learn does it: a probability of 0 would make all other pictures vanish.
    return np.asarray(-np.log(np.clip(_of_truth(material), np.finfo(np.float32).eps, 1)))


def brier_scores(material: Material) -> np.ndarray:
    """The sum over classes (n,) of squared differences of probability and truth."""
    assert material.probabilities is not None
    squares = (material.probabilities.astype(float) ** 2).sum(axis=1)
    return np.asarray(squares - 2 * _of_truth(material) + 1)


def _of_truth(material: Material) -> np.ndarray:
    """The probability (n,) of the true label."""
    assert material.outcomes.probabilities is not None
    return material.outcomes.probabilities[np.arange(len(material.test)), material.true]


def _with_intervals(material: Material, metrics: Sequence[_Metric]) -> list[Score]:
    n, rng = len(material.test), np.random.default_rng(material.seed)
    samples = np.empty((N_RESAMPLES, len(metrics)))
    for sample in samples:  # one after the other: all at once take N_RESAMPLES times the memory
        rows = rng.integers(n, size=n)
        sample[:] = [metric.of_rows(rows) for metric in metrics]
    # A sample may lack a class, and some scores with it.
    ends = np.nanquantile(samples, [0.025, 0.975], axis=0)
    return [
        Score(m.name, m.meaning, m.of_rows(np.arange(n)), float(low), float(high), m.baseline)
        for m, low, high in zip(metrics, *ends, strict=True)
    ]


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: float(values[rows].mean())


def _of_classes(material: Material) -> list[_Metric]:
    """Scores in which each class counts the same."""
    true, predicted, n_classes = material.true, material.predicted, len(material.labels)

    def counts(codes: np.ndarray) -> np.ndarray:
        return np.bincount(codes, minlength=n_classes)

    def balanced(rows: np.ndarray) -> float:
        hits, of_class = counts(true[rows[material.right[rows]]]), counts(true[rows])
        there = of_class > 0
        return float((hits[there] / of_class[there]).mean())

    def f1(rows: np.ndarray) -> float:
        hits = counts(true[rows[material.right[rows]]])
        both = counts(true[rows]) + counts(predicted[rows])
        return float((2 * hits[both > 0] / both[both > 0]).mean())

    meaning = "mean over classes of the recall, the share of their pictures that is found"
    return [
        _Metric("balanced accuracy", meaning, balanced, 1 / len(np.unique(true))),
        _Metric("F1", "mean over classes of the harmonic mean of precision and recall", f1),
    ]


def _f1_of_labels(material: Material) -> _Metric:
    y, predicted = material.test.y > 0, material.y_pred > 0

    def f1(rows: np.ndarray) -> float:
        hits = (y[rows] & predicted[rows]).sum(axis=0)
        both = y[rows].sum(axis=0) + predicted[rows].sum(axis=0)
        # As in scikit-learn, a label that neither occurs nor is predicted has a score of 0.
        return float(np.divide(2 * hits, both, out=np.zeros(len(both)), where=both > 0).mean())

    return _Metric("F1", "mean over labels of the harmonic mean of precision and recall", f1)


def _of_probabilities(material: Material) -> list[_Metric]:
    assert material.probabilities is not None
    metrics = [
        _Metric(
            "log loss",
            "mean of minus the logarithm of the probability of the true label; 0 is best",
            _mean_of(log_losses(material)),
        ),
        _Metric(
            "Brier score",
            "mean over pictures of the squared differences of probability and truth, summed over "
            "classes (Brier, 1950); 0 is best, 2 is worst",
            _mean_of(brier_scores(material)),
        ),
    ]
    if len(material.labels) == 2 == len(np.unique(material.true)):
        metrics.append(_area_under_roc(material))
    return metrics


def _area_under_roc(material: Material) -> _Metric:
    """The Mann-Whitney statistic; scikit-learn's function would take most of a report's time."""
    assert material.probabilities is not None
    positive = material.true == 1
    levels, places = np.unique(material.probabilities[:, 1], return_inverse=True)

    def area(rows: np.ndarray) -> float:
        up, down = (
            np.bincount(places[rows[positive[rows] == which]], minlength=len(levels))
            for which in (True, False)
        )
        pairs = float(up.sum()) * float(down.sum())
        if not pairs:
            return float("nan")
        below = np.cumsum(down) - down
        return float((up * (below + down / 2)).sum() / pairs)

    meaning = "chance that a picture of the second class has a higher score than one of the first"
    return _Metric("area under ROC", meaning, area)


def _chance(material: Material) -> float:
    """Accuracy of always predicting the most frequent label."""
    usual = _usual(material)
    if material.multilabel:
        return float((material.test.y == usual).all(axis=1).mean())
    return float(np.mean([label == usual for label in material.test.y.tolist()]))


def usual_label(material: Material) -> str:
    """The most frequent label, in words."""
    return material.label_text(_usual(material))


def _usual(material: Material) -> Any:
    """The most frequent label in the training, or else in the test; an indicator of several."""
    learned = material.test if material.train is None else material.train
    if material.multilabel:
        return (learned.y.mean(axis=0) > 0.5).astype(int)
    ((usual, _),) = Counter(learned.y.tolist()).most_common(1)
    return usual


def _baseline_text(material: Material) -> str:
    where = "test" if material.train is None else "training"
    return (
        f"The baseline predicts what is most frequent in the {where} labels, whatever the picture."
    )


def _warnings(material: Material) -> list[Block]:
    blocks: list[Block] = []
    if (n := len(material.test)) < FEW_ROWS:
        blocks.append(
            Text(
                f"There are only {n} test pictures. Bootstrap intervals of so few are too narrow.",
                is_warning=True,
            )
        )
    if material.unreadable:
        n, shown = len(material.unreadable), "; ".join(material.unreadable[:5])
        blocks.append(
            Text(
                f"{n} test pictures can't be read any more, and no figure of this report includes "
                f"them: {shown}{'; ...' if n > 5 else ''}.",
                is_warning=True,
            )
        )
    known = set(material.subject.classes.tolist())
    if not material.multilabel and (strange := [x for x in material.labels if x not in known]):
        rows = int(np.isin(material.true, [material.labels.index(x) for x in strange]).sum())
        names = ", ".join(map(str, strange[:10])) + (", ..." if len(strange) > 10 else "")
        blocks.append(
            Text(
                f"{rows} test pictures have labels that the classifier does not know, and count as "
                f"mistakes: {names}. Check the spelling of y_test, or fit with pictures of them.",
                is_warning=True,
            )
        )
    if not material.multilabel and len(np.unique(material.true)) == 1:
        blocks.append(
            Text(
                f"All test pictures are of one class, {material.labels[material.true[0]]}, so how "
                "well classes are told apart can't be judged. Test with pictures of all classes.",
                is_warning=True,
            )
        )
    if material.why_no_probabilities:
        blocks.append(
            Text(
                f"There are no probabilities, so log loss, Brier score and calibration are "
                f"missing. {material.why_no_probabilities}",
                is_warning=True,
            )
        )
    return blocks

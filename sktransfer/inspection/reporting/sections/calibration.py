"""How far probabilities can be taken at their word."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.inspection.intervals import wilson
from sktransfer.inspection.reporting.blocks import Plot, Section, Table, Text
from sktransfer.inspection.reporting.drawing import SOFT, draw_curve, drawn
from sktransfer.inspection.reporting.material import Material

_BINS = 10


def section(material: Material) -> Section:
    """A curve of accuracy against confidence, with its figures."""
    title = "Calibration"
    if material.probabilities is None:
        return Section("calibration", title, [Text(material.why_no_probabilities)])
    if material.multilabel:
        confidence = material.probabilities.reshape(-1).astype(float)
        happened = material.test.y.reshape(-1) > 0
        what, of = "probability of a label", "label is present"
    else:
        confidence = material.probabilities.max(axis=1).astype(float)
        # The most probable label, which for some classifiers is not the predicted one.
        happened = material.probabilities.argmax(axis=1) == material.true
        what, of = "probability of the most likely class", "class is right"
    bins = binned(confidence, happened)
    gap = sum(abs(share - probability) * n for probability, share, n, *_ in bins) / len(confidence)
    columns = ["mean probability", "share", "number", "from", "to"]
    return Section(
        "calibration",
        title,
        [
            Text(
                f"The mean {what} is {confidence.mean():.3f}, and the {of} for "
                f"{happened.mean():.3f} of them. In the bins of the table, the two differ by "
                f"{gap:.3f} on average (expected calibration error; Guo et al., ICML 2017). "
                + _judgement(confidence.mean(), happened.mean(), len(confidence))
            ),
            Plot(
                drawn(lambda axes: _draw(axes, bins, what, of), "calibration"),
                f"Calibration curve: the share in which the {of}, against the {what}. The table "
                "below has its points.",
                "Points on the grey line are calibrated; below it, the classifier is too sure. "
                "Bars are 95 % intervals (Wilson).",
            ),
            Table(
                columns,
                [list(each) for each in bins],
                f"The points of the curve: the mean {what}, and the share in which the {of}.",
            ),
        ],
    )


def binned(
    confidence: np.ndarray, happened: np.ndarray
) -> list[tuple[float, float, int, float, float]]:
    """Mean confidence, share, number, and an interval of the share, in bins of equal width."""
    which = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    found = []
    for each in range(_BINS):
        rows = which == each
        if n := int(rows.sum()):
            hits = happened[rows]
            found.append((float(confidence[rows].mean()), float(hits.mean()), n, *wilson(hits)))
    return found


def _judgement(confidence: float, share: float, n: int) -> str:
    error = np.sqrt(max(share * (1 - share), 1 / n) / n)
    if abs(confidence - share) <= 2 * error:
        return f"With {n} of them, such a difference of the means may be chance."
    how = "too sure" if confidence > share else "not sure enough"
    return (
        f"The classifier is {how}. PretrainedImageClassifier(calibrate='temperature'), or "
        "scikit-learn's CalibratedClassifierCV, corrects this."
    )


def _draw(axes: Any, bins: list[Any], what: str, of: str) -> None:
    confidence, share, _, low, high = (np.array(column) for column in zip(*bins, strict=True))
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1)
    draw_curve(axes, confidence, share, low, high)
    axes.set(xlabel=what, ylabel=f"share: {of}", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

"""How well each class is found."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from sktransfer.inspection.reporting.blocks import Section, Table, Text
from sktransfer.inspection.reporting.material import Material

# A page with more rows is hard to read.
MOST_ROWS = 50


def section(material: Material) -> Section:
    """A table with a row for each class, the ones that are found least first."""
    precision, recall, f1, support, chosen = _figures(material)
    # Classes that do not occur have no recall, and come last.
    order = np.lexsort((-support, np.where(support > 0, recall, 2)))
    shown = order[:MOST_ROWS]
    rows = [
        [
            str(material.labels[c]),
            int(support[c]),
            recall[c] if support[c] else None,
            precision[c] if chosen[c] else None,
            f1[c] if support[c] or chosen[c] else None,
            *_in_training(material, int(c)),
        ]
        for c in shown
    ]
    columns = ["class", "test pictures", "recall", "precision", "F1"]
    columns += [] if material.train is None else ["training pictures"]
    table = Table(
        columns,
        rows,
        "Recall: of the pictures of a class, the share that is found. Precision: of the pictures "
        "predicted as the class, the share that belongs to it.",
    )
    more = len(order) - len(shown)
    notes = (
        [Text(f"{more} other classes are not shown: found better, or not in the test.")]
        if more
        else []
    )
    return Section("classes", "Classes", [table, *notes])


def _figures(material: Material) -> tuple[np.ndarray, ...]:
    if material.multilabel:
        y, predicted, labels = material.test.y, material.y_pred, None
        chosen = predicted.sum(axis=0)
    else:
        y, predicted = material.true, material.predicted
        labels = np.arange(len(material.labels))
        chosen = np.bincount(predicted, minlength=len(labels))
    found = precision_recall_fscore_support(
        y, predicted, labels=labels, average=None, zero_division=0
    )
    return (*found, chosen)


def _in_training(material: Material, position: int) -> list[int]:
    if material.train is None:
        return []
    if material.multilabel:
        return [int(material.train.y[:, position].sum())]
    return [int(np.sum(material.train.y == material.labels[position]))]

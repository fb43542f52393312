"""Classes that have too few pictures, or very different numbers of them."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.data_checks.findings import Finding
from sktransfer.inspection.data_checks.material import Material
from sktransfer.inspection.data_checks.picture_facts import readable

# Cross-validation has five folds unless told otherwise, here and in scikit-learn. With fewer rows
# some folds have none of a class to judge it by; with fewer than ten, a fold has one.
_FOLDS = 5
_FEW = 10
# The largest class relative to the smallest: accuracy then says little about the smallest.
_UNEQUAL = 5


def find_class_sizes(material: Material) -> list[Finding]:
    """Findings about the numbers of readable pictures of each class."""
    labels = material.any_labels()
    rows = [i for i in readable(material.facts) if i < material.n_rows]
    if labels.multilabel:
        return _of_columns(material, labels.y[rows] > 0, rows)
    codes = labels.y[rows]
    counts = np.bincount(codes, minlength=len(labels.classes))
    if len(labels.classes) == 1:
        return [_single(material, material.class_names[0], rows)]
    found = []
    for code in np.flatnonzero(counts < _FEW):
        of_class = [row for row, each in zip(rows, codes, strict=True) if each == code]
        name = f"Class {material.class_names[code]!r}"
        found.append(_small(material, name, of_class))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if rows and counts[largest] >= _UNEQUAL * counts[smallest]:
        name = repr(material.class_names[largest])
        found.append(
            material.finding(
                "imbalance",
                "note",
                [],
                f"Class {name} has {counts[largest]} readable pictures, and "
                f"{material.class_names[smallest]!r} has {counts[smallest]}. A classifier that "
                f"always says {name} is right for {counts[largest] / len(rows):.0%} of them.",
                'Score by "balanced_accuracy", and try class_weight="balanced".',
                float(counts[largest] / max(counts[smallest], 1)),
            )
        )
    return found


def _small(material: Material, name: str, rows: list[int]) -> Finding:
    n = len(rows)
    pictures = f"{n} readable picture{'' if n == 1 else 's'}"
    if n < _FOLDS:
        return material.finding(
            "small_class",
            "warning",
            rows,
            f"{name} has {pictures}: cross-validation in {_FOLDS} folds leaves some folds without "
            "any to judge it by.",
            "Add pictures, join it with a similar class, or leave it out.",
            float(n),
        )
    return material.finding(
        "small_class",
        "note",
        rows,
        f"{name} has {pictures}, so that scores of it are rough.",
        "Add pictures if you can, and report the score of each class with its number of pictures.",
        float(n),
    )


def _single(material: Material, label: object, rows: list[int]) -> Finding:
    return material.finding(
        "single_class",
        "error",
        rows,
        f"All labels in y are {label!r}.",
        "A classifier needs at least two classes. Was a part of the data left out?",
    )


def _of_columns(material: Material, present: np.ndarray, rows: list[int]) -> list[Finding]:
    """Labels, of several per picture, that few pictures have, or few lack."""
    found = []
    for column, has in enumerate(present.T):
        for name, which in (
            (f"Label {column} (column of y)", has),
            (f"The absence of label {column} (column of y)", ~has),
        ):
            if which.sum() < _FEW:
                found.append(_small(material, name, np.array(rows)[which].tolist()))
    return found

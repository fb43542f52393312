"""The pictures that the classifier gets most wrong, and why it may think so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sktransfer.inspection.explanation.explain import explain
from sktransfer.inspection.nearest import MOST_ROWS, nearest
from sktransfer.inspection.reporting.blocks import Block, Gallery, Picture, Section, Text
from sktransfer.inspection.reporting.material import Material

_MOST, _SIDE = 12, 160
_MOST_WITH_NEIGHBOURS, _N_NEIGHBOURS, _SMALL = 6, 5, 96
# Occlusion takes 82 predictions for each picture.
_MOST_OCCLUDED = 4


def section(material: Material) -> Section:
    """The mistakes with the largest loss, with maps and their nearest training pictures."""
    rows = worst(material)
    blocks: list[Block] = [Text(_lead(material, rows))]
    if material.test.pictures is None:
        blocks.append(Text("X holds no pictures that could be shown here."))
    elif len(rows):
        maps, note = _maps(material, rows)
        blocks += [Gallery(_pictures(material, rows, maps)), Text(note)]
        blocks += _neighbours(material, rows[:_MOST_WITH_NEIGHBOURS])
    return Section("mistakes", "Mistakes", blocks)


def worst(material: Material) -> np.ndarray:
    """Rows (n,) of the mistakes, those of the largest loss first."""
    wrong = np.flatnonzero(~material.right)
    if material.probabilities is not None:
        wrong = wrong[np.argsort(-material.outcomes.losses[wrong], kind="stable")]
    return wrong[:_MOST]


def _lead(material: Material, rows: np.ndarray) -> str:
    n_wrong, n = int((~material.right).sum()), len(material.test)
    if not n_wrong:
        return f"All {n} test pictures are predicted correctly."
    lead = f"{n_wrong} of {n} test pictures are predicted wrongly."
    if n_wrong <= len(rows):
        return lead
    which = "with the largest loss" if material.probabilities is not None else "that come first"
    return f"{lead} These are the {len(rows)} {which}."


def _maps(material: Material, rows: np.ndarray) -> tuple[list[np.ndarray | None], str]:
    """A map for each row, or None, and a sentence about them."""
    nothing: list[np.ndarray | None] = [None] * len(rows)
    targets = material.subject.classes[material.outcomes.explained[rows]]
    for method in ("cam", "gradcam", "occlusion"):
        chosen = rows[:_MOST_OCCLUDED] if method == "occlusion" else rows
        part = material.test.taken(chosen)
        try:
            found = explain(material.runner.estimator, part.X, targets[: len(chosen)], method)
        except (ValueError, TypeError, ImportError):  # what classifiers say to other input than X
            continue
        maps = [found.on_original(i, _SIDE) for i in range(len(chosen))]
        return [*maps, *nothing[len(chosen) :]], f"{_ABOUT} {_METHODS[method]}"
    return nothing, "There are no maps of this classifier."


_ABOUT = (
    "What speaks for the prediction stays bright, and the line goes around what speaks at least "
    "half as much for it as the strongest part."
)
_METHODS = {
    "cam": "Class activation maps (Zhou et al., CVPR 2016).",
    "gradcam": "Grad-CAM (Selvaraju et al., ICCV 2017).",
    "occlusion": (
        "Occlusion (Zeiler & Fergus, ECCV 2014): this classifier allows no other maps, and only "
        f"the first {_MOST_OCCLUDED} pictures have one, for each takes 82 predictions."
    ),
}


def _pictures(
    material: Material, rows: np.ndarray, maps: Sequence[np.ndarray | None]
) -> list[Picture]:
    lines = []
    for row in rows:
        prediction = material.label_text(material.y_pred[row]) + _probability(material, row)
        lines.append([prediction, f"is {material.label_text(material.test.y[row])}"])
    return material.shown(material.test, rows, _SIDE, lines, maps)


def _probability(material: Material, row: int) -> str:
    if material.probabilities is None or material.multilabel:
        return ""
    # The prediction is a label that the classifier knows.
    return f" ({material.probabilities[row, material.predicted[row]]:.2f})"


def _neighbours(material: Material, rows: np.ndarray) -> list[Block]:
    """The training pictures whose features are nearest to those of each mistake."""
    train, subject = material.train, material.subject
    if train is None or train.pictures is None or subject.backbone is None:
        reason = "X_train and y_train" if train is None else "a classifier with a backbone"
        return [Text(f"The nearest training pictures of mistakes need {reason}.")]
    if len(train) > MOST_ROWS:
        return [Text(f"With more than {MOST_ROWS:,} training pictures, none are searched.")]
    features = material.train_features
    readable = np.flatnonzero(~np.isnan(features).any(axis=1))
    n = min(_N_NEIGHBOURS, len(readable))
    distances, places = nearest(features[readable], material.test_features[rows], n)
    blocks: list[Block] = [
        Text(
            "Below are the training pictures that are nearest to the first mistakes in the space "
            "of features, with their labels and the cosine distances: 0 for the same direction, 1 "
            "for a right angle. A neighbour with a doubtful label may be the reason."
        )
    ]
    for row, at, near in zip(rows, distances, readable[places], strict=True):
        lines: list[Any] = [
            [material.label_text(train.y[i]), f"distance {d:.2f}"]
            for i, d in zip(near, at, strict=True)
        ]
        name = material.test.name_of(int(row))
        title = f"Near {name}, {material.label_text(material.test.y[row])} predicted as "
        blocks.append(
            Gallery(
                material.shown(train, near, _SMALL, lines),
                title=title + material.label_text(material.y_pred[row]),
                is_small=True,
            )
        )
    return blocks

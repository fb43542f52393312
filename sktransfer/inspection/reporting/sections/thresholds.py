"""What happens if the second class is predicted from another probability on."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.reporting.blocks import Section, Table
from sktransfer.inspection.reporting.material import Material

_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def section(material: Material) -> Section | None:
    """A table for two classes with probabilities; None for others."""
    n_columns = 0 if material.probabilities is None else material.probabilities.shape[1]
    if material.multilabel or material.probabilities is None or n_columns != 2:
        return None
    if len(material.labels) != 2:  # the test has a label that the classifier does not know
        return None
    positive, of_second = material.true == 1, material.probabilities[:, 1]
    first, second = map(str, material.labels)
    rows = []
    for threshold in _THRESHOLDS:
        chosen = of_second >= threshold
        hits = int((chosen & positive).sum())
        rows.append(
            [
                f"{threshold:g}",
                int(chosen.sum()),
                hits / chosen.sum() if chosen.any() else None,
                hits / positive.sum() if positive.any() else None,
                (chosen & ~positive).sum() / (~positive).sum() if (~positive).any() else None,
                float(np.mean(chosen == positive)),
            ]
        )
    return Section(
        "thresholds",
        "Thresholds",
        [
            Table(
                [
                    "threshold",
                    f"predicted as {second}",
                    "precision",
                    "recall",
                    f"share of {first} predicted as {second}",
                    "accuracy",
                ],
                rows,
                f"A picture is predicted as {second} if the probability of {second} is at least "
                "the threshold. "
                "Choose one on other pictures than these: scikit-learn's "
                "TunedThresholdClassifierCV does so by cross-validation.",
            )
        ],
    )

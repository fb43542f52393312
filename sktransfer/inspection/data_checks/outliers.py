"""Pictures that are far from all others in feature space."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.material import Material

# The mean over ten neighbours also shows small groups of strangers: up to five alike were found on
# the clip-art, where one neighbour would show a lone one only.
_NEIGHBOURS = 10
_AT_LEAST = 30
# Tukey, "Exploratory Data Analysis", 1977: the outer quarter, and one and a half times the width of
# the middle half. Quartiles do not move if a few pictures are far away.
_FENCE = 1.5
# Distances of equal features, which float32 rounds.
_EQUAL = 1e-6


def find_outliers(material: Material) -> list[Finding]:
    """One finding for each picture whose nearest neighbours are unusually far away."""
    positions = material.described
    if len(positions) < _AT_LEAST:
        raise NotMade(
            f"it needs {_AT_LEAST} pictures to tell what is usual, and {len(positions)} can be used"
        )
    distances = _to_neighbours(material.units(positions))
    low, median, high = np.quantile(distances, [0.25, 0.5, 0.75])
    if high < _EQUAL:
        raise NotMade(f"most pictures have the same features as {_NEIGHBOURS} others")
    far = np.flatnonzero(distances > high + _FENCE * (high - low))
    ratios = distances / max(float(median), _EQUAL)
    return [
        material.finding(
            "outlier",
            "note",
            [positions[i]],
            f"{material.facts[positions[i]].name} is unlike all others: its {_NEIGHBOURS} nearest "
            f"pictures are {ratios[i]:.1f} times as far away as is usual.",
            "Look at it. It may belong to another task; a rare but right picture should stay.",
            float(ratios[i]),
        )
        for i in sorted(far, key=lambda i: -ratios[i])
    ]


def _to_neighbours(units: np.ndarray) -> np.ndarray:
    """Mean of 1 - cosine (n,) to the nearest other pictures."""
    # On vectors of length 1, half of the square of the distance is 1 - cosine.
    search = NearestNeighbors(n_neighbors=_NEIGHBOURS, algorithm="brute").fit(units)
    distances, _ = search.kneighbors()
    mean: np.ndarray = (distances**2 / 2).mean(axis=1)
    return mean

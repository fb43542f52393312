"""Pictures that are nearly equal: compressed again, resized, mirrored, cropped, or recoloured."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.data_checks.copies import NEAR, findings_of_copies
from sktransfer.inspection.data_checks.findings import Finding
from sktransfer.inspection.data_checks.material import Material


def find_near_duplicates(material: Material) -> list[Finding]:
    """Findings about each group of pictures that are nearly, but not all exactly, equal."""
    copies, found = material.near, []
    for group in np.unique(copies.groups):
        members = np.flatnonzero(copies.groups == group)
        if len(members) > 1:
            positions = sorted(position for i in members for position in copies.equal[i])
            cosine = float(1 - min(copies.distances[i] for i in members))
            found += findings_of_copies(material, positions, NEAR, cosine)
    return found

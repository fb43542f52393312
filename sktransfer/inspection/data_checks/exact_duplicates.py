"""Pictures that are equal, pixel by pixel."""

from __future__ import annotations

from sktransfer.inspection.data_checks.copies import EXACT, findings_of_copies
from sktransfer.inspection.data_checks.findings import Finding
from sktransfer.inspection.data_checks.material import Material


def find_exact_duplicates(material: Material) -> list[Finding]:
    """Findings about each group of equal pictures, but not those of one colour."""
    groups = [group for group in material.equal if len(group) > 1]
    return [found for group in groups for found in findings_of_copies(material, group, EXACT)]

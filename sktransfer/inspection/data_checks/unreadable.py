"""Pictures that can't be read."""

from sktransfer.inspection.data_checks.findings import Finding
from sktransfer.inspection.data_checks.material import Material


def find_unreadable(material: Material) -> list[Finding]:
    """One finding for each picture that an estimator would refuse."""
    return [
        material.finding(
            "unreadable",
            "error",
            [position],
            f"{facts.name}: {facts.error}",
            "Restore the file from its source, or leave this row out: a fit stops here.",
        )
        for position, facts in enumerate(material.facts)
        if facts.error is not None
    ]

"""What copies of a picture mean: a label conflict, leakage, or only a picture that counts twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sktransfer.inspection.data_checks.findings import Finding, listed
from sktransfer.inspection.data_checks.material import Material


@dataclass(frozen=True)
class Likeness:
    """How equal the pictures of a group are, and how severe that is.

    Parameters
    ----------
    kind : {"exact_duplicate", "near_duplicate"}
    words : str
        The end of "They are ...".
    grave, mild : str
        Severity of conflicts and leakage, and of copies that are neither.
    """

    kind: str
    words: str
    grave: str
    mild: str


EXACT = Likeness("exact_duplicate", "the same picture", grave="error", mild="warning")
NEAR = Likeness("near_duplicate", "nearly the same picture", grave="warning", mild="note")

_CONFLICT = (
    "Decide which label is right, correct the others, and keep one of these rows: a classifier "
    "can't learn both."
)
_LEAK = (
    "Take them out of X, or out of X_test: a classifier has seen these test pictures, and its test "
    "score is too high."
)
_TWICE = (
    "Keep one of them, or give all of them one group and split by GroupKFold: else a score counts "
    "test rows that were trained on."
)


def findings_of_copies(
    material: Material, positions: Sequence[int], likeness: Likeness, score: float | None = None
) -> list[Finding]:
    """Findings about one group of copies.

    Parameters
    ----------
    material : Material
    positions : sequence of int
        At least two.
    likeness : Likeness
    score : float, optional
    """
    names = [_described(material, position) for position in positions]
    message = f"{listed(names)} are {likeness.words}."

    def finding(kind: str, severity: str, advice: str) -> Finding:
        return material.finding(kind, severity, positions, message, advice, score)

    found = []
    if _labels_differ(material, positions):
        found.append(finding("label_conflict", likeness.grave, _CONFLICT))
    if min(positions) < material.n_rows <= max(positions):
        found.append(finding("leakage", likeness.grave, _LEAK))
    return found or [finding(likeness.kind, likeness.mild, _TWICE)]


def _labels_differ(material: Material, positions: Sequence[int]) -> bool:
    if material.labels is None:
        return False
    labels = {str(material.label_of(i)) for i in positions if i < material.n_rows}
    return len(labels) > 1


def _described(material: Material, position: int) -> str:
    name = material.facts[position].name
    if position >= material.n_rows:
        return f"{name} (X_test)" if material.facts[position].path else name
    return name if material.labels is None else f"{name} ({material.label_of(position)!r})"

"""A model card: what those who use the classifier must know, to be filled in.

After Mitchell et al., "Model cards for model reporting", FAT* 2019, p. 220.
"""

from __future__ import annotations

from collections.abc import Mapping

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.reporting.blocks import Blank, Block, Section, Text
from sktransfer.inspection.reporting.material import Material
from sktransfer.inspection.reporting.sections.model import license_of

FIELDS = {
    "intended use": "Who uses the classifier, for which pictures, and what is decided by it?",
    "not for": "For which pictures or decisions must it not be used?",
    "training data": "Where do the pictures and labels come from, and what do they leave out?",
    "limits": "When does it fail? See the mistakes and the groups of this report.",
    "contact": "Who answers questions, and until when is the classifier looked after?",
}


def section(material: Material) -> Section:
    """The fields of the card, filled in or blank."""
    blanks: list[Block] = [
        Blank(name, material.card.get(name, ""), hint) for name, hint in FIELDS.items()
    ]
    if licence := license_of(material.subject):
        blanks.append(
            Text(
                f"Licence of the pretrained weights: {licence}. The classifier contains them, or "
                "was made from them, so their terms apply to it."
            )
        )
    return Section("card", "Model card", blanks)


def checked_card(card: Mapping[str, str] | None) -> dict[str, str]:
    """The fields that the user has filled in.

    Raises
    ------
    ParameterError
        If there is no such field.
    """
    if card is not None and not isinstance(card, Mapping):
        raise ParameterError(
            f"card is a dict such as {{'limits': 'Fails at night.'}}; got {card!r:.80}."
        )
    given = {} if card is None else {str(name): str(text) for name, text in card.items()}
    if unknown := [name for name in given if name not in FIELDS]:
        raise ParameterError(f"card may hold {', '.join(map(repr, FIELDS))}; got {unknown}.")
    return given

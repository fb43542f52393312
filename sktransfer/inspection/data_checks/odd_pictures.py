"""Pictures that are blank, tiny, or of an extreme shape."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.data_checks.findings import Finding
from sktransfer.inspection.data_checks.material import Material, is_blank
from sktransfer.inspection.data_checks.picture_facts import readable

# A network sees some 224 pixels. Of fewer than 64, each is drawn out to more than three; where all
# pictures of a set are so small, only those that are far smaller than the others are odd.
_SMALL_SIDE = 64
_BELOW_MEDIAN = 4
_NOTHING_FITS = 8
# The crop of most weights keeps 7/8 of the shorter side: of a picture that is four times as long as
# wide, it shows less than a quarter.
_LONG = 4.0
_ABOVE_MEDIAN = 2


def find_odd_pictures(material: Material) -> list[Finding]:
    """One finding for each such picture."""
    positions = readable(material.facts)
    if not positions:
        return []
    sizes = np.array([material.facts[i].size for i in positions])
    sides, ratios = sizes.min(axis=1), sizes.max(axis=1) / sizes.min(axis=1)
    smallest = max(_NOTHING_FITS, min(_SMALL_SIDE, float(np.median(sides)) / _BELOW_MEDIAN))
    longest = max(_LONG, _ABOVE_MEDIAN * float(np.median(ratios)))
    found = []
    for position, (width, height), side, ratio in zip(positions, sizes, sides, ratios, strict=True):
        facts = material.facts[position]
        shape = f"{facts.name} has {width} x {height} pixels"
        if is_blank(facts.spread):
            found.append(
                material.finding(
                    "blank",
                    "warning",
                    [position],
                    f"{facts.name} is of one colour, or nearly so ({width} x {height} pixels).",
                    "Look at it, and leave the row out if there is nothing to see.",
                    facts.spread,
                )
            )
        elif side < smallest:
            found.append(
                material.finding(
                    "tiny",
                    "warning",
                    [position],
                    f"{shape}; half of all pictures have a shorter side of "
                    f"{np.median(sides):.0f} or more.",
                    "It may be a thumbnail or an icon: find the original, or leave the row out.",
                    float(side),
                )
            )
        if ratio >= longest:
            found.append(
                material.finding(
                    "extreme_aspect",
                    "note",
                    [position],
                    f"{shape}: one side is {ratio:.1f} times as long as the other.",
                    'Cut out what matters. With resize="crop" a network sees only the middle of '
                    'it; "pad" and "squash" show all of it, very small or distorted.',
                    float(ratio),
                )
            )
    return found

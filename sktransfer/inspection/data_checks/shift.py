"""Properties of files that tell X from X_test."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.data_checks.association import association, is_clear
from sktransfer.inspection.data_checks.file_properties import properties_of_pictures
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.material import Material
from sktransfer.inspection.data_checks.picture_facts import readable

# As for labels: part of the entropy of "X or X_test" that a property must remove.
_AT_LEAST = 0.1

_ADVICE = (
    "The test score speaks of pictures that differ from those trained on. If new pictures will be "
    "like X_test, train on such ones too; if they will be like X, draw X_test from the same source."
)


def find_shift(material: Material) -> list[Finding]:
    """One finding for each family of properties by which X and X_test differ."""
    material.need_test_rows()
    positions = readable(material.facts)
    is_test = (np.array(positions) >= material.n_rows).astype(np.int64)
    if len(np.unique(is_test)) < 2:
        raise NotMade("no picture of X, or none of X_test, can be read")
    found: dict[str, Finding] = {}
    for each in properties_of_pictures([material.facts[i] for i in positions]):
        told = association(each.values, is_test)
        best = found.get(each.family)
        if is_clear(told, _AT_LEAST) and (best is None or told.share > (best.score or 0)):
            with_value = np.array([value == told.value for value in each.values])
            value = "without one" if told.value is None else f"with {told.value!r}"
            found[each.family] = material.finding(
                "shift",
                "note",
                [],
                f"{each.words} differs between X and X_test: pictures {value} are "
                f"{np.mean(with_value[is_test == 0]):.0%} of X and "
                f"{np.mean(with_value[is_test == 1]):.0%} of X_test.",
                _ADVICE,
                told.share,
            )
    return list(found.values())

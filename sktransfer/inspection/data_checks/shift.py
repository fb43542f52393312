"""Properties of files that tell X from X_test."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.data_checks.association import Association, Groups, association
from sktransfer.inspection.data_checks.file_properties import Property, properties_of_pictures
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.material import Material
from sktransfer.inspection.data_checks.picture_facts import readable

# As for classes: part of the entropy of "X or X_test" that a property must remove.
_AT_LEAST = 0.1

_ADVICE = (
    "The test score speaks of pictures that differ from those trained on. If new pictures will be "
    "like X_test, train on such ones too; if they will be like X, draw X_test from the same source."
)


def find_shift(material: Material) -> list[Finding]:
    """One finding for each family of properties by which X and X_test differ."""
    material.need_test_rows()
    positions = readable(material.facts)
    is_test = np.array(positions) >= material.n_rows
    if is_test.all() or not is_test.any():
        raise NotMade("no picture of X, or none of X_test, can be read")
    given = properties_of_pictures([material.facts[i] for i in positions])
    told = [(each, association(Groups.of(each.values), is_test)) for each in given]
    # The last one of a family stays, which tells most.
    told.sort(key=lambda pair: pair[1].share)
    clear = {each.family: (each, by) for each, by in told if by.is_clear(_AT_LEAST)}
    return [_finding(material, is_test, each, by) for each, by in clear.values()]


def _finding(material: Material, is_test: np.ndarray, each: Property, told: Association) -> Finding:
    with_it = np.array([value == told.value for value in each.values])
    value = "without one" if told.value is None else f"with {told.value!r}"
    return material.finding(
        "shift",
        "note",
        [],
        f"{each.words} differs between X and X_test: pictures {value} are "
        f"{with_it[~is_test].mean():.0%} of X and {with_it[is_test].mean():.0%} of X_test.",
        _ADVICE,
        told.share,
    )

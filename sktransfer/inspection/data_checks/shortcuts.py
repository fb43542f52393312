"""Properties of files that give classes away: what a network may learn instead of the subject."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sktransfer.inspection.data_checks.association import Association, Groups, association
from sktransfer.inspection.data_checks.file_properties import (
    Property,
    properties_of_paths,
    properties_of_pictures,
)
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.material import Material
from sktransfer.inspection.data_checks.picture_facts import readable

# Part of the entropy of a class that a property must remove to be worth a finding.
_AT_LEAST = 0.1

_SEEN = (
    "A network may learn this instead of the subject, and fail on other pictures. Make it equal "
    "for all classes (other pictures; resize or save all in the same way), or keep groups of it "
    "apart by GroupKFold, to see what is left of the score."
)
_UNSEEN = (
    "A network does not see it, but it may tell where pictures come from, and with it what else "
    "differs. Look at some of each, and keep groups of it apart by GroupKFold."
)


def find_shortcuts(material: Material) -> list[Finding]:
    """One finding for each family of properties that tells a class from the others.

    Each class is looked at by itself: a camera that gives one of twenty away removes little of the
    uncertainty about all.
    """
    labels = material.one_label_each()
    rows = [i for i in readable(material.facts) if i < material.n_rows]
    codes = labels.y[rows]
    if len(np.unique(codes)) < 2:
        raise NotMade("the pictures that can be read are of one class only")
    facts = [material.facts[i] for i in rows]
    given = properties_of_pictures(facts)
    given += properties_of_paths(facts, codes, material.class_names)
    # The last one of a family stays, which tells most.
    told = sorted((_told_by(each, codes) for each in given), key=lambda each: each.of_best.share)
    clear = {each.by.family: each for each in told if each.of_best.is_clear(_AT_LEAST)}
    return [_finding(material, np.array(rows), codes, each) for each in clear.values()]


class _Told(NamedTuple):
    """What a property tells of the class of which it tells most."""

    by: Property
    code: int
    of_best: Association


def _told_by(each: Property, codes: np.ndarray) -> _Told:
    groups = Groups.of(each.values)
    told = {int(code): association(groups, codes == code) for code in np.unique(codes)}
    best = max(told, key=lambda code: told[code].share)
    return _Told(each, best, told[best])


def _finding(material: Material, rows: np.ndarray, codes: np.ndarray, told: _Told) -> Finding:
    value, share = told.of_best.value, told.of_best.share
    with_it = np.array([each == value for each in told.by.values])
    label = repr(material.class_names[told.code])
    return material.finding(
        "shortcut",
        "warning" if told.by.in_pixels else "note",
        rows[with_it],
        f"{told.by.words} tells {label} from all other classes: it removes {share:.0%} of the "
        f"uncertainty (entropy). Of {with_it.sum()} pictures "
        f"{'without one' if value is None else f'with {value!r}'}, "
        f"{np.sum(codes[with_it] == told.code)} are {label}; of all {len(codes)} pictures, "
        f"{np.mean(codes == told.code):.0%} are.",
        _SEEN if told.by.in_pixels else _UNSEEN,
        share,
    )

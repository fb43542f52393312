"""Properties of files that predict the label: what a network may learn instead of the subject."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.data_checks.association import Association, association, is_clear
from sktransfer.inspection.data_checks.file_properties import (
    Property,
    properties_of_paths,
    properties_of_pictures,
)
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.material import Material
from sktransfer.inspection.data_checks.picture_facts import readable

# Part of the labels' entropy that a property must remove to be worth a finding.
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
    """One finding for each family of properties that predicts the label."""
    labels = material.one_label_each()
    rows = [i for i in readable(material.facts) if i < material.n_rows]
    codes = labels.y[rows]
    if len(np.unique(codes)) < 2:
        raise NotMade("the pictures that can be read are of one class only")
    facts = [material.facts[i] for i in rows]
    names = material.class_names
    found: dict[str, Finding] = {}
    for each in properties_of_pictures(facts) + properties_of_paths(facts, codes, names):
        told = association(each.values, codes)
        best = found.get(each.family)
        if is_clear(told, _AT_LEAST) and (best is None or told.share > (best.score or 0)):
            with_value = np.array([value == told.value for value in each.values])
            found[each.family] = material.finding(
                "shortcut",
                "warning" if each.in_pixels else "note",
                np.array(rows)[with_value],
                _message(each, told, codes[with_value], codes, names[told.code]),
                _SEEN if each.in_pixels else _UNSEEN,
                told.share,
            )
    return list(found.values())


def _message(
    each: Property, told: Association, some: np.ndarray, codes: np.ndarray, label: object
) -> str:
    value = "without one" if told.value is None else f"with {told.value!r}"
    return (
        f"{each.words} predicts the label: it removes {told.share:.0%} of the uncertainty "
        f"(entropy). Of {len(some)} pictures {value}, {np.sum(some == told.code)} are {label!r}; "
        f"of all {len(codes)} pictures, {np.mean(codes == told.code):.0%} are."
    )

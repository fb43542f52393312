"""Findings about the pictures and labels, with the pictures in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sktransfer.inspection.data_checks.check import check_pictures
from sktransfer.inspection.data_checks.data_check import DataCheck
from sktransfer.inspection.data_checks.findings import KINDS, Finding
from sktransfer.inspection.reporting.blocks import Block, Gallery, Picture, Section, Table, Text
from sktransfer.inspection.reporting.material import Material, Part

_MOST_OF_KIND = 8
_SIDE = 96
# Kinds whose pictures are worth a look, and how many of them are shown.
_SHOWN = ("label_conflict", "leakage", "label_error", "near_duplicate", "blank", "outlier")
_MOST_SHOWN = 6
# Rows of one finding that are shown: copies come in pairs, seldom in larger groups.
_PER_FINDING = 3


def section(material: Material) -> Section:
    """A table of findings, and galleries of the kinds that one must look at."""
    if material.test.pictures is None:
        return Section("data", "Data", [Text("X holds no pictures, so none were checked.")])
    check = _checked(material)
    blocks: list[Block] = [Text(_scope(material, check))]
    if len(check):
        blocks.append(_table(check))
    blocks += [gallery for kind in _SHOWN if (gallery := _gallery(material, check, kind))]
    return Section("data", "Data", [*blocks, *_not_made(check)])


def _checked(material: Material) -> DataCheck:
    """The findings about the training pictures and the test, or about the test alone."""
    train, test = material.train, material.test
    has_features = material.subject.backbone is not None
    if train is None:
        features: Any = material.test_features if has_features else None
        return check_pictures(_items(test), test.y, features=features)
    features = (material.train_features, material.test_features) if has_features else None
    check = check_pictures(_items(train), train.y, X_test=_items(test), features=features)
    if material.saw_labels:
        return _without_label_errors(check)
    return check


def _items(part: Part) -> list[Any]:
    """The pictures as they are read: flattened rows have become arrays."""
    assert part.pictures is not None
    return list(part.pictures.items)


def _without_label_errors(check: DataCheck) -> DataCheck:
    reason = (
        "stages of the network were trained on these labels, wrong ones included. Use "
        "check_pictures, which takes features of a network that knows no labels"
    )
    return DataCheck(
        [each for each in check if each.kind != "label_error"],
        not_made={**check.not_made, "label_error": reason},
        n_rows=check.n_rows,
        n_test_rows=check.n_test_rows,
    )


def _scope(material: Material, check: DataCheck) -> str:
    if material.train is None:
        pictures = f"the {check.n_rows} test pictures; give X_train and y_train to check both parts"
    else:
        pictures = f"the {check.n_rows} training pictures and the {check.n_test_rows} of the test"
    found = f"{len(check)} findings" if len(check) != 1 else "One finding"
    return f"{found} about {pictures}."


def _table(check: DataCheck) -> Table:
    """A few findings of each kind, with the advice at the first."""
    rows: list[list[str]] = []
    for kind in dict.fromkeys(each.kind for each in check):
        of_kind = check.of_kind(kind)
        title = f"{KINDS[kind]} ({len(of_kind)})"
        for i, each in enumerate(of_kind[:_MOST_OF_KIND]):
            first = i == 0
            rows.append(
                [
                    title if first else "",
                    each.severity,
                    each.message,
                    each.advice if first or each.advice != of_kind[0].advice else "",
                ]
            )
        if len(of_kind) > _MOST_OF_KIND:
            rows.append(["", of_kind[-1].severity, f"and {len(of_kind) - _MOST_OF_KIND} more", ""])
    return Table(
        ["finding", "severity", "where", "advice"],
        rows,
        "Errors make a score or a fit wrong, warnings probably harm it, notes are good to know.",
    )


def _gallery(material: Material, check: DataCheck, kind: str) -> Gallery | None:
    findings = check.of_kind(kind)
    if not findings:
        return None
    pictures = [picture for each in findings[:_MOST_SHOWN] for picture in _pictures(material, each)]
    more = len(findings) - _MOST_SHOWN
    return Gallery(
        pictures,
        title=KINDS[kind],
        note=f"{more} more findings of this kind have no pictures here." if more > 0 else "",
    )


def _pictures(material: Material, finding: Finding) -> list[Picture]:
    first = material.test if material.train is None else material.train
    shown = _of_part(material, first, finding.rows, finding, is_test=first is material.test)
    return shown + _of_part(material, material.test, finding.test_rows, finding, is_test=True)


def _of_part(
    material: Material, part: Part, rows: Sequence[int], finding: Finding, *, is_test: bool
) -> list[Picture]:
    chosen = list(rows[:_PER_FINDING])
    lines = []
    for row in chosen:
        label = material.label_text(part.y[row])
        text = [f"label: {label}", *([] if finding.suggestion is None else [_suggested(finding)])]
        lines.append([*text, "test" if is_test else "training"])
    return material.shown(part, chosen, _SIDE, lines)


def _suggested(finding: Finding) -> str:
    return f"rather: {finding.suggestion}"


def _not_made(check: DataCheck) -> list[Text]:
    reasons: dict[str, list[str]] = {}
    for kind, reason in check.not_made.items():
        reasons.setdefault(reason, []).append(KINDS[kind].lower())
    return [
        Text(f"Not looked for: {', '.join(kinds)}, because {reason}.")
        for reason, kinds in reasons.items()
    ]

"""Findings about the pictures and labels, with the pictures in doubt."""

from __future__ import annotations

from collections.abc import Sequence

from sktransfer.inspection.data_checks.check import check_sources
from sktransfer.inspection.data_checks.data_check import DataCheck
from sktransfer.inspection.data_checks.features import FeatureMaker
from sktransfer.inspection.data_checks.findings import KINDS, Finding
from sktransfer.inspection.reporting.blocks import Block, Gallery, Picture, Section, Table, Text
from sktransfer.inspection.reporting.material import Material, Part

_MOST_OF_KIND = 8
_SIDE = 96
_SEVERITIES = (
    "Errors make a score or a fit wrong, warnings probably harm it, notes are good to know."
)
# Kinds whose pictures are worth a look, and how many findings of a kind have them.
_SHOWN = ("label_conflict", "leakage", "label_error", "near_duplicate", "blank", "outlier")
_MOST_SHOWN = 6
_NAMES = "X are the training pictures and X_test those of the test"
# Rows of one finding that are shown: copies come in pairs, seldom in larger groups.
_PER_FINDING = 3


def section(material: Material) -> Section:
    """Findings by kind, with the pictures of those that one must look at."""
    if material.test.pictures is None:
        return Section("data", "Data", [Text("X holds no pictures, so none were checked.")])
    check = _checked(material)
    blocks: list[Block] = [*_alarm(check), Text(_scope(material, check))]
    if len(check):
        blocks.append(Text(_SEVERITIES))
    for kind in dict.fromkeys(each.kind for each in check):
        blocks += _of_kind(material, check, kind)
    return Section("data", "Data", [*blocks, *_not_made(check)])


def _checked(material: Material) -> DataCheck:
    """The findings about the training pictures and the test, or about the test alone."""
    train, test = material.train, material.test
    assert test.pictures is not None
    if train is None or train.pictures is None:
        maker = _features(material, ["test_features"])
        return check_sources([test.pictures], material.texts_of(test.y), maker)
    maker = _features(material, ["train_features", "test_features"])
    return check_sources([train.pictures, test.pictures], material.texts_of(train.y), maker)


def _features(material: Material, names: list[str]) -> FeatureMaker:
    if material.subject.backbone is None:
        # Those of another network would take longer than all else in the report.
        return FeatureMaker(
            why_not="the classifier has no backbone. check_pictures takes features of another one"
        )
    matrices = tuple(getattr(material, name) for name in names)
    return FeatureMaker(matrices=matrices, saw_labels=material.subject.saw_labels)


def _scope(material: Material, check: DataCheck) -> str:
    if material.train is None:
        pictures = f"the {check.n_rows} test pictures; give X_train and y_train to check both parts"
    else:
        pictures = f"the {check.n_rows} training pictures and the {check.n_test_rows} of the test"
    found = f"{len(check)} findings" if len(check) != 1 else "One finding"
    names = "X are the test pictures" if material.train is None else _NAMES
    return f"{found} about {pictures}. In what follows, {names}."


def _alarm(check: DataCheck) -> list[Text]:
    """A sentence about errors, for which the scores can't be trusted."""
    errors = [each for each in check if each.severity == "error"]
    if not errors:
        return []
    kinds = "; ".join(KINDS[kind].lower() for kind in dict.fromkeys(e.kind for e in errors))
    n = f"{len(errors)} errors" if len(errors) > 1 else "An error"
    return [Text(f"{n} in the data: {kinds}. Scores can't be trusted before it is mended.", True)]


def _of_kind(material: Material, check: DataCheck, kind: str) -> list[Block]:
    """Some findings of one kind below their common advice, and their pictures."""
    findings = check.of_kind(kind)
    rows = [[each.message] for each in findings[:_MOST_OF_KIND]]
    if (more := len(findings) - len(rows)) > 0:
        rows.append([f"and {more} more"])
    n, severity = len(findings), findings[0].severity
    title = f"{KINDS[kind]} ({n} {severity}{'s' if n > 1 else ''})"
    table = Table([title], rows, findings[0].advice)
    return [table, _gallery(material, findings)] if kind in _SHOWN else [table]


def _gallery(material: Material, findings: Sequence[Finding]) -> Gallery:
    pictures = [picture for each in findings[:_MOST_SHOWN] for picture in _pictures(material, each)]
    more = len(findings) - _MOST_SHOWN
    return Gallery(
        pictures,
        note=f"{more} more findings of this kind have no pictures here." if more > 0 else "",
        is_small=True,
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
        reasons.setdefault(reason, []).append(KINDS[kind])
    return [
        Text(f"Not looked for: {'; '.join(kinds)}. The reason: {reason}.")
        for reason, kinds in reasons.items()
    ]

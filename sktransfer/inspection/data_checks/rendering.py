"""Findings as plain text, and as a part of an HTML page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby

from sktransfer.inspection.data_checks.findings import KINDS, Finding, listed

_WIDTH = 96
_SHOWN = 3  # findings of a kind in a text
_SHOWN_IN_HTML = 50
_ROWS = 6


def as_text(findings: Sequence[Finding], not_made: Mapping[str, str], title: str) -> str:
    """Findings of each kind under one heading, a few of each, with the advice once.

    Parameters
    ----------
    findings : sequence of Finding
        Sorted.
    not_made : mapping of str to str
    title : str
    """
    lines = [title]
    for severity, kind, group in _grouped(findings):
        lines += ["", f"{severity.upper()}: {KINDS[kind]} ({len(group)})"]
        for each in group[:_SHOWN]:
            rows = _rows(each)
            lines += _wrapped(f"{_one_line(each.message)}{rows and f' [{rows}]'}", "- ")
        if len(group) > _SHOWN:
            lines.append(f"  - and {len(group) - _SHOWN} more")
        lines += _wrapped(_one_line(group[0].advice), "> ")
    if not_made:
        lines += ["", "Not looked for"]
        for reason, kinds in _by_reason(not_made):
            lines += _wrapped(f"{listed(kinds, at_most=9)}: {_one_line(reason)}", "- ")
    return "\n".join(lines)


def as_html(findings: Sequence[Finding], not_made: Mapping[str, str], title: str) -> str:
    """The same as a part of an HTML page; parameters are those of `as_text`."""
    parts = [f'<div class="sktransfer-data-check"><p>{escape(title)}</p>']
    for severity, kind, group in _grouped(findings):
        items = "".join(_item(each) for each in group[:_SHOWN_IN_HTML])
        if len(group) > _SHOWN_IN_HTML:
            items += f"<li>and {len(group) - _SHOWN_IN_HTML} more</li>"
        parts.append(
            f'<details class="{severity}"{" open" if severity == "error" else ""}>'
            f"<summary><strong>{severity.capitalize()}</strong>: {escape(KINDS[kind])} "
            f"({len(group)})</summary>"
            f"<p>{_escaped(group[0].advice)}</p><ul>{items}</ul></details>"
        )
    if not_made:
        reasons = "".join(
            f"<li>{escape(listed(kinds, at_most=9))}: {_escaped(reason)}</li>"
            for reason, kinds in _by_reason(not_made)
        )
        parts.append(f"<details><summary>Not looked for</summary><ul>{reasons}</ul></details>")
    return "".join([*parts, "</div>"])


def _grouped(findings: Sequence[Finding]) -> Iterator[tuple[str, str, list[Finding]]]:
    for (severity, kind), group in groupby(findings, key=lambda each: (each.severity, each.kind)):
        yield severity, kind, list(group)


def _item(finding: Finding) -> str:
    rows = _rows(finding)
    return f"<li>{_escaped(finding.message)}{f' <small>{rows}</small>' if rows else ''}</li>"


def _rows(finding: Finding) -> str:
    """The rows of a finding, in words; a class or a camera may have thousands."""
    parts = []
    for name, rows in (("X", finding.rows), ("X_test", finding.test_rows)):
        if rows:
            numbers = listed([str(row) for row in rows], _ROWS)
            parts.append(f"row{'' if len(rows) == 1 else 's'} {numbers} of {name}")
    return ", ".join(parts)


def _by_reason(not_made: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Each reason with the titles of all kinds that it holds for."""
    reasons: dict[str, list[str]] = {}
    for kind, reason in not_made.items():
        reasons.setdefault(reason, []).append(KINDS[kind])
    return list(reasons.items())


def _escaped(text: str) -> str:
    return escape(_one_line(text))


def _one_line(text: str) -> str:
    """A text without line breaks and undecodable bytes, which names and labels may have."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _wrapped(text: str, bullet: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {bullet}",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )

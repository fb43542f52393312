from sktransfer.inspection.data_checks.findings import Finding
from sktransfer.inspection.data_checks.rendering import as_html, as_text

NASTY = '<script>alert("1")</script>\n&\udcff'


def findings(n, kind="blank", severity="warning", message="a.jpg is blank.", **more):
    return [
        Finding(kind, severity, message, "Look at it.", **{"rows": (i,), **more}) for i in range(n)
    ]


def test_a_text_has_a_heading_for_each_kind():
    text = as_text([*findings(1, "unreadable", "error"), *findings(2)], {}, "3 pictures")
    assert text.splitlines() == [
        "3 pictures",
        "",
        "ERROR: Pictures that can't be read (1)",
        "  - a.jpg is blank. [row 0 of X]",
        "  > Look at it.",
        "",
        "WARNING: Blank pictures (2)",
        "  - a.jpg is blank. [row 0 of X]",
        "  - a.jpg is blank. [row 1 of X]",
        "  > Look at it.",
    ]


def test_a_text_shows_a_few_of_each_kind():
    text = as_text(findings(9), {}, "")
    assert text.count("a.jpg is blank") == 3
    assert "- and 6 more" in text


def test_a_text_shows_a_few_rows():
    text = as_text(findings(1, rows=tuple(range(100)), test_rows=(3,)), {}, "")
    assert "[rows 0, 1, 2, 3, 4, 5 and 94 more of X, row 3 of X_test]" in " ".join(text.split())


def test_lines_are_short():
    text = as_text(findings(1, message="word " * 100), {"blank": "because " * 50}, "")
    assert max(map(len, text.splitlines())) <= 96


def test_what_was_not_looked_for_is_told_by_reason():
    text = as_text([], {"blank": "no y", "tiny": "no y", "shift": "no X_test"}, "")
    assert text.splitlines()[-2:] == [
        "  - Blank pictures and Tiny pictures: no y",
        "  - Facts about files that differ between X and X_test: no X_test",
    ]


def test_names_stay_on_their_line_and_can_be_printed():
    text = as_text(findings(1, message=NASTY), {}, "")
    assert r"</script>\n&\udcff" in text
    text.encode()


def test_html_escapes_everything():
    html = as_html(findings(1, message=NASTY), {"tiny": NASTY}, NASTY.strip("\udcff"))
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&quot;1&quot;)") == 3
    html.encode()


def test_html_has_all_kinds_and_shows_many_findings():
    html = as_html([*findings(1, "unreadable", "error"), *findings(60)], {}, "61 pictures")
    assert html.count("<details") == html.count("</details>") == 2
    assert html.count('<details class="error" open>') == 1
    assert html.count("<li>") == 52
    assert "and 10 more" in html

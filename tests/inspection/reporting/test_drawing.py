import re
from xml.etree import ElementTree

import matplotlib as mpl

from sktransfer.inspection.reporting.drawing import ACCENT, drawn


def line(axes):
    axes.plot([0, 1], [0, 1], color=ACCENT)
    axes.set(xlabel="a < b", ylabel="share")


def test_the_page_gives_colours_and_type():
    svg = drawn(line, "key")
    ElementTree.fromstring(svg)
    assert "var(--accent)" in svg
    assert "currentColor" in svg
    assert ACCENT not in svg
    assert "DejaVu" not in svg
    assert "a &lt; b" in svg
    assert "<metadata" not in svg


def test_plots_do_not_share_names():
    one, other = (drawn(line, key) for key in ("a", "b"))
    names, others = (set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, other))
    assert names
    assert not names & others
    used = re.findall(r'(?:url\(|href=")#([^)"]*)', one)
    assert used
    assert set(used) <= names


def test_a_plot_is_the_same_each_time_and_leaves_no_setting():
    before = dict(mpl.rcParams)
    assert drawn(line, "key") == drawn(line, "key")
    assert dict(mpl.rcParams) == before

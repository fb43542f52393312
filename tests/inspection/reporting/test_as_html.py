import base64
import io
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sktransfer.inspection.reporting import as_html as module
from sktransfer.inspection.reporting.as_html import as_html, as_text
from sktransfer.inspection.reporting.blocks import (
    Blank,
    Cell,
    Document,
    Gallery,
    Picture,
    Plot,
    Section,
    Table,
    Text,
)

EVIL = "<script>alert(\"x\")</script>' onload='y"


class Elements(HTMLParser):
    """All elements of a page: their names and attributes."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def page(*blocks, whole=True, title="A title"):
    document = Document(title, [("0.5", "accuracy")], [Section("s", "Scores", list(blocks))])
    return as_html(document, "p-", whole=whole)


def picture(text="ant"):
    return Picture(np.full((6, 9, 3), 77, np.uint8), f"picture of {text}", [text], 0)


def test_a_page_and_a_snippet():
    assert page().startswith("<!doctype html>")
    snippet = page(whole=False)
    assert "<html" not in snippet
    assert '<article class="sktransfer-report">' in snippet


def test_links_lead_somewhere():
    table = Table(["true", "n"], [["ant", Cell(3, link="cell", hint="three ants", shade=0.5)]], "c")
    elements = Elements(page(table, Gallery([picture()], title="cell", key="cell")))
    ids = {attrs["id"] for _, attrs in elements.found if "id" in attrs}
    targets = {attrs["href"].removeprefix("#") for attrs in elements.all("a")}
    assert targets == {"p-s", "p-cell"} <= ids
    (cell,) = [attrs for attrs in elements.all("td") if "title" in attrs]
    assert cell["title"] == "three ants"
    assert cell["style"] == "--shade: 30.0%"


def test_pictures_are_within_the_page():
    (img,) = Elements(page(Gallery([picture()]))).all("img")
    assert img["alt"] == "picture of ant"
    assert (img["width"], img["height"]) == ("9", "6")
    head, data = img["src"].split(",")
    assert head == "data:image/jpeg;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert abs(decoded.astype(int) - 77).max() <= 2


def test_whatever_comes_from_outside_stays_text():
    text = page(
        Text(EVIL),
        Table([EVIL], [[EVIL, Cell(EVIL, hint=EVIL)]], EVIL),
        Gallery([Picture(np.zeros((2, 2, 3), np.uint8), EVIL, [EVIL], 0)], title=EVIL, note=EVIL),
        Blank(EVIL, EVIL, EVIL),
        Plot("<svg></svg>", EVIL, EVIL),
        title=EVIL,
    )
    elements = Elements(text)
    assert not elements.all("script")
    assert not any("onload" in attrs for _, attrs in elements.found)
    assert elements.text.count(EVIL) >= 10


def test_numbers_are_aligned_and_rounded():
    text = page(
        Table(["class", "n", "share"], [["ant", 1234, 0.12345], ["bee", None, np.float32(2)]], "c")
    )
    assert '<td class="number">1,234</td>' in text
    assert '<td class="number">0.123</td>' in text
    assert '<td class="number">-</td>' in text
    assert '<td class="number">2.000</td>' in text
    assert '<th scope="row">ant</th>' in text
    assert text.count('<th scope="col" class="number">') == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "-"), (np.int64(5), "5"), (12345.6, "12,346"), ("x", "x"), (True, "1")],
)
def test_cells_as_text(value, text):
    assert as_text(value) == text


def test_a_missing_jinja2_is_named(monkeypatch):
    module._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'sktransfer\[report\]'"):
        page()

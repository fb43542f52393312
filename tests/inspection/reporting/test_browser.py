"""The page of a report in a browser: Chromium, where it is installed."""

import numpy as np
import pytest

from sktransfer import report
from tests.conftest import CHROMIUM, make_pictures
from tests.small_estimators import make_classifier

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
WIDTHS = (375, 1440)
X, y = make_pictures(60, n_classes=3)
LABELS = np.array(["a class with quite a long name", "<b>bee</b>", "cat & 'dog'"])[y]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    model = make_classifier(image_size=64).fit(X[:30], LABELS[:30])
    wrong = np.where(np.arange(30) % 4 == 0, LABELS[0], LABELS[30:])
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(
        *(model, X[30:], wrong),
        X_train=X[:30],
        y_train=LABELS[:30],
        groups=["a", "b", None] * 10,
        learning_curve=True,
        path=path,
    )
    return path


@pytest.fixture
def opened(browser, page_file):
    """A function that opens the page at a width; what it logged and requested."""
    contexts, logged, requested = [], [], []

    def opened(width, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(page_file.as_uri())
        return page

    yield opened, logged, requested
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_requested_logged_or_cut_off(opened, page_file, width, scheme):
    open_page, logged, requested = opened
    page = open_page(width, scheme)
    assert logged == []
    assert [url for url in requested if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).length")
    assert broken == 0
    page.screenshot(path=page_file.parent / f"{width}-{scheme}.png", full_page=True)


def test_sections_and_cells_lead_to_their_places(opened):
    open_page, *_ = opened
    page = open_page(1440, java_script_enabled=True)
    names = page.locator("nav a").all_inner_texts()
    assert names == page.locator("section > h2").all_inner_texts()
    for link in page.locator("nav a").all():
        link.click()
        place = page.evaluate("document.querySelector(':target').getBoundingClientRect().top")
        bottom = page.evaluate("scrollY + innerHeight >= document.body.scrollHeight - 1")
        assert abs(place) < 60 or bottom
    cells = page.locator("table.dense td a")
    assert cells.count() >= 3
    for cell in cells.all():
        cell.click()
        target = page.locator(":target")
        assert target.locator("img").count() >= 1
        assert "predicted as" in target.locator("h3").inner_text()


def test_all_is_readable_without_scripts(opened):
    open_page, *_ = opened
    page = open_page(1440, java_script_enabled=False)
    assert page.locator("section").count() == 11
    assert page.locator("section img").first.is_visible()


def test_labels_are_shown_as_they_are(opened):
    open_page, *_ = opened
    page = open_page(1440)
    assert "<b>bee</b>" in page.locator("table.dense tbody th").all_inner_texts()


def test_text_has_enough_contrast(opened):
    """WCAG 2.1, success criterion 1.4.3: 4.5 to 1 for text of this size."""
    contrast = """() => {
      const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const parsed = text => text.match(/[\\d.]+/g).map(Number);
      const behind = element => {
        for (; element; element = element.parentElement) {
          const colour = getComputedStyle(element).backgroundColor;
          const parts = parsed(colour);
          if (colour.startsWith("rgb") && (parts.length < 4 || parts[3] > 0)) return parts;
        }
        return [255, 255, 255];
      };
      const texts = [...document.querySelectorAll(
        "h1, h2, h3, p, dt, dd, a, th, figcaption, .gallery span")];
      return Math.min(...texts.filter(e => e.offsetParent && e.textContent.trim()).map(e => {
        const [one, other] = [parsed(getComputedStyle(e).color), behind(e)].map(light);
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      }));
    }"""
    open_page, *_ = opened
    for scheme in ("light", "dark"):
        assert open_page(1440, scheme).evaluate(contrast) >= 4.5


def test_the_keyboard_reaches_all_links(opened):
    open_page, *_ = opened
    page = open_page(1440)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('nav') !== null")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_links_work_in_the_frame_of_a_notebook(browser, tmp_path):
    model = make_classifier(image_size=64).fit(X[:30], LABELS[:30])
    made = report(model, X[30:], np.where(np.arange(30) % 4 == 0, LABELS[0], LABELS[30:]))
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<title>Notebook</title>{made._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    page.goto(notebook.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("table.dense td a").first.click()
    assert frame.locator(":target img").count() >= 1
    page.close()

"""The code in the documentation runs, and prints the output shown there."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# A page without code would pass without being tested.
WITHOUT_CODE = {"index.md", "reliability.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, tmp_path, monkeypatch):
    for module in ("pandas", "imblearn"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)  # some pages save files
    text = page.read_text(encoding="utf-8")
    # The fence that ends a block of code would be taken for output.
    code = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(
        code, {"__name__": "__main__"}, page.name, str(page), 0
    )
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert result.failed == 0, "see the captured output"
    assert (result.attempted == 0) == (page.name in WITHOUT_CODE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_is_shown_as_code(page):
    """Lines that begin with >>> are quotations in Markdown, unless they are in a block of code."""
    blocks = re.split(r"^```.*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not [line for text in blocks[::2] for line in text.splitlines() if line[:3] == ">>>"]


def test_index_names_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES if f"({page.name})" not in index]
    assert missing == ["README.md", "index.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)", text) if "://" not in t]
    assert [t for t in targets if not (page.parent / t).exists()] == []

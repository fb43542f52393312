"""LICENSES.md names all data of the package, and the licence of all weights."""

import re
import subprocess
from pathlib import Path

import pytest

from sktransfer import list_backbones

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "LICENSES.md").read_text(encoding="utf-8")


def test_every_data_file_has_its_line():
    listed = subprocess.run(
        ["git", "ls-files", "sktransfer"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:
        pytest.skip("no repository")
    data = [name for name in listed if not name.endswith((".py", "py.typed"))]
    assert len(data) > 481
    named = re.findall(r"`([a-z_/]+(?:/|\.csv))`", PAGE.split("## Data of the tests")[0])
    folders = tuple(f"sktransfer/{name}" for name in named if name.endswith("/"))
    files = {Path(name).name for name in named if name.endswith(".csv")}
    assert [n for n in data if not n.startswith(folders) and Path(n).name not in files] == []


def test_every_licence_of_weights_is_named():
    pytest.importorskip("timm")
    records = [*list_backbones(), *list_backbones(source="timm")]
    licences = {record["license"] for record in records}
    assert {"Apache-2.0", "BSD-3-Clause", "cc-by-nc-4.0"} <= licences
    assert sorted(each for each in licences if each not in PAGE) == []

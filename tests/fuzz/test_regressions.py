"""Files with which a fuzzer once found a defect. Their names tell the script, its seed and case."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sktransfer.images.decoding import decode_file
from tests.fuzz.pictures import ALLOWED, check
from tests.fuzz.seeds import seeds

FOLDER = Path(__file__).parent / "regressions"


@pytest.mark.parametrize("strictly", [False, True])
@pytest.mark.parametrize("found", sorted(FOLDER.glob("picture_*")), ids=lambda path: path.name)
def test_found_picture(found, strictly, tmp_path):
    assert check(found.read_bytes(), tmp_path / "picture", strictly=strictly).kind in ALLOWED


def test_all_seeds_are_judged(tmp_path):
    """A fuzzer whose seeds are broken, or that sees nothing, would find nothing."""
    kinds = [check(data, tmp_path / "a", strictly=False).kind for data in seeds()]
    assert set(kinds) <= set(ALLOWED)
    assert kinds.count("read") > 0.9 * len(kinds)


def test_a_wrong_size_is_found(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((3, 5, 3), np.uint8)).save(path)
    contents = path.read_bytes()
    monkeypatch.setattr(
        "sktransfer.images.sources.decode_file", lambda path: decode_file(path).transpose(4)
    )
    assert check(contents, path, strictly=False).kind == "wrong size"

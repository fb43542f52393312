"""Folders of small pictures for the commands."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import make_pictures

# A fit on random weights, in a second.
FAST = ["--backbone", "mnasnet0_5"]
FAST += ["--set", "weights=none", "--set", "image_size=32", "--set", "random_state=0"]


def make_folder(path: Path, n: int = 12, seed: int = 0) -> Path:
    """Write class folders "red" and "green" with n pictures."""
    X, y = make_pictures(n, seed=seed)
    for i, (pixels, code) in enumerate(zip(X, y, strict=True)):
        folder = path / ["red", "green"][code]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return path


def labels_of(paths):
    """The class folders of paths."""
    return np.array([Path(path).parent.name for path in paths])

"""Fixtures for all tests: small pictures made here, and the shared data where it exists."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

# Seconds after which something hangs. A deadline only: no test asserts how long anything takes,
# for a busy machine takes its time.
HANGS = 600

SHARED = Path(__file__).resolve().parents[2] / "shared"
MOBILENET_WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet1k_features.safetensors"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skip a test where a part of the shared data is missing."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not on this machine")


def make_pictures(n: int, size: int = 32, n_classes: int = 2, seed: int = 0):
    """Noisy pictures whose colour tells their class: (n, size, size, 3) uint8, and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    hues = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 40]])[:n_classes]
    noise = rng.normal(0, 40, (n, size, size, 3))
    X = np.clip(hues[y][:, None, None, :] + noise, 0, 255).astype(np.uint8)
    X.flags.writeable = False  # inputs are never written to
    return X, y


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """Networks here take milliseconds: threads that wait for each other only cost time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_torch_seed():
    """Random layers are the same in every run, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture
def pictures():
    """Twenty-four pictures of two classes, read-only."""
    return make_pictures(24)


@pytest.fixture
def picture_files(tmp_path, pictures):
    """The same pictures as PNG files, and their labels as strings."""
    X, y = pictures
    paths = []
    for i, pixels in enumerate(X):
        path = tmp_path / f"picture_{i}.png"
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths, np.array(["red", "green"])[y]

"""Fixtures for all tests: generated pictures, and the shared data where it is available."""

import contextlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sktransfer._common.devices import available_devices
from sktransfer.images import sources

# Seconds after which a test assumes that something hangs. No test asserts a shorter duration,
# because a busy machine can be slow.
HANGS = 600

# Tests that look at pages run where there is a Chromium.
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
MOBILENET_WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet1k_features.safetensors"


def needs(path: Path) -> pytest.MarkDecorator:
    """Return a mark that skips a test if a part of the shared data is missing."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not on this machine")


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int):
    """Mount a disk on a new folder; skip the test where that is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def make_pictures(n: int, size: int = 32, n_classes: int = 2, seed: int = 0):
    """Make noisy pictures, (n, size, size, 3) uint8, whose colour depends on their class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    hues = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 40]])[:n_classes]
    noise = rng.normal(0, 40, (n, size, size, 3))
    X = np.clip(hues[y][:, None, None, :] + noise, 0, 255).astype(np.uint8)
    X.flags.writeable = False  # the library must not write to its input
    return X, y


def save_pictures(X: np.ndarray, folder: Path) -> list[str]:
    """Save pictures (n, h, w, 3) as picture_0.png and so on, and return their paths."""
    paths = [str(folder / f"picture_{i}.png") for i in range(len(X))]
    for pixels, path in zip(X, paths, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def elsewhere():
    """Skip a test that opens a file on a machine without its device, if this one has a device."""
    if available_devices() != ["cpu"]:
        pytest.skip("this machine has a device")


@pytest.fixture(scope="module")
def browser():
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        # Within a container, Chromium has no sandbox of its own.
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    """Compute on one thread: the networks here are so small that more threads only cost time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_torch_seed():
    """Seed torch, so that random layers do not depend on the tests that ran before."""
    torch.manual_seed(0)


@pytest.fixture
def pictures():
    """Twenty-four read-only pictures of two classes, and their labels."""
    return make_pictures(24)


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the files that are decoded, in order; tests may clear the list."""
    paths = []
    original = sources.decode_file
    monkeypatch.setattr(sources, "decode_file", lambda path: paths.append(path) or original(path))
    return paths


@pytest.fixture
def picture_files(tmp_path, pictures):
    """The same pictures as PNG files, and their labels as strings."""
    X, y = pictures
    return save_pictures(X, tmp_path), np.array(["red", "green"])[y]

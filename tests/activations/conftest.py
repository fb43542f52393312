import numpy as np
import pytest

from sktransfer.activations import memory


@pytest.fixture
def mapped(monkeypatch):
    """The shapes that were mapped to files."""
    shapes = []
    original = np.memmap

    def memmap(*args, shape, **options):
        shapes.append(shape)
        return original(*args, shape=shape, **options)

    monkeypatch.setattr(memory.np, "memmap", memmap)
    return shapes

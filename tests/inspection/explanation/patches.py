"""A set whose classes are decided by one patch, and a small network that sees it."""

import numpy as np
import torch
from torch import nn

from sktransfer import free_memory, register_backbone
from sktransfer.backbones.names import REGISTERED

SIDE, PATCH = 48, 12
# Colours of the patch, which is all that tells the classes apart.
COLOURS = np.array([[230, 40, 40], [40, 60, 230]])
NAME = "tests/small"
PRESET = {"image_size": SIDE, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def patch_pictures(n, seed=0):
    """Return grey noise with one coloured patch each, labels, and the corners of the patches."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.integers(60, 200, (n, SIDE, SIDE, 1), dtype=np.uint8), 3, axis=3)
    y = np.arange(n) % len(COLOURS)
    corners = rng.integers(0, SIDE - PATCH + 1, (n, 2))
    for picture, (top, left), colour in zip(X, corners, COLOURS[y], strict=True):
        picture[top : top + PATCH, left : left + PATCH] = colour
    return X, np.array(["red", "blue"])[y], corners


def share_of_peaks_inside(maps, corners):
    """Return the share of maps whose largest value lies in the patch."""
    peaks = np.stack(np.unravel_index(maps.reshape(len(maps), -1).argmax(1), maps.shape[1:]), 1)
    return np.mean(((peaks >= corners) & (peaks < corners + PATCH)).all(axis=1))


def build():
    """Return a network of three stages; its maps have 12 x 12 positions."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
    )


def register():
    """Make the network a backbone."""
    register_backbone(NAME, build, preprocessing=PRESET)


def forget():
    """Undo `register`."""
    REGISTERED.registrations.pop(NAME, None)
    free_memory()

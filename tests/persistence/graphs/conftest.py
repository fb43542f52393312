"""A network of two convolutions, whose graphs are made in seconds, and classifiers of it."""

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer import register_backbone
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier

TINY = "mine/tiny"
PRESET = {
    "image_size": 16,
    "resize_size": 18,
    "interpolation": "bicubic",
    "mean": (0.5, 0.4, 0.3),
    "std": (0.2, 0.25, 0.3),
}


def build():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU()),
            nn.Sequential(nn.Conv2d(6, 8, 3, 2), nn.ReLU()),
        )


def register():
    register_backbone(TINY, build, preprocessing=PRESET, stages=["0", "1"])


@pytest.fixture(autouse=True)
def tiny(no_backbones_of_others):  # noqa: ARG001
    """Register the network for each test of this folder."""
    register()


@pytest.fixture(scope="package")
def classifier():
    """A classifier of two words."""
    register()
    return fitted_classifier()


def fitted_classifier(**parameters):
    X, y = make_pictures(24)
    tiny = {"backbone": TINY, "weights": "DEFAULT", "image_size": None}
    return make_classifier(**{**tiny, **parameters}).fit(X, np.array(["ant", "bee"])[y])


def pictures_of(height, width, n=3, seed=0, channels=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8)

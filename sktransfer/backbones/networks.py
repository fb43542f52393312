"""Build the whole network of a backbone, without weights or with random ones."""

from torch import nn

from sktransfer._common.random import seeded
from sktransfer.backbones.names import source_of
from sktransfer.backbones.without_values import ParametersOnMeta


def build_empty(name: str, num_classes: int = 1000, image_size: int | None = None) -> nn.Module:
    """The network `name` on the meta device: shapes and names, no values.

    `image_size` matters only to networks that are built for one size (vision transformers).
    """
    with ParametersOnMeta():
        return source_of(name).build(name, num_classes, image_size).eval()


def build_random(name: str, seed: int, image_size: int | None = None) -> nn.Module:
    """The network `name` with random weights, always the same for the same seed."""
    # torch draws weights from its global generator, which others in the process rely on.
    with seeded(seed):
        return source_of(name).build(name, num_classes=1000, image_size=image_size).eval()

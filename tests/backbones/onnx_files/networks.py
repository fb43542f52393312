"""The networks in the files, with weights that need no random generator."""

from pathlib import Path

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent
SIDE = 16


class Features(nn.Module):
    """Pictures (n, 3, h, w) -> features (n, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 6, 3, 2)
        for parameter in self.parameters():
            values = torch.arange(parameter.numel(), dtype=torch.float32)
            parameter.data = torch.sin(7 * values).reshape(parameter.shape) / 3

    def forward(self, x: Tensor) -> Tensor:
        return self._map(x).mean((2, 3))

    def _map(self, x: Tensor) -> Tensor:
        features: Tensor = self.second(torch.relu(self.first(x)))
        return features


class Map(Features):
    """Pictures (n, 3, h, w) -> a map (n, 6, 3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return self._map(x)


class Two(Features):
    """Two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = self._map(x)
        return features.mean((2, 3)), features

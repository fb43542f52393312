"""The new last layers: from rows of features to one score a class."""

from collections.abc import Sequence

import torch
from torch import nn


def build_head(
    n_features: int, hidden_layer_sizes: Sequence[int], dropout: float, n_classes: int
) -> nn.Sequential:
    """Dense(ReLU) layers with dropout after each, and a Linear.

    Without hidden layers the dropout, if any, comes before the Linear.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    dropout : float
        Probability of dropping a value, 0 for none.
    n_classes : int
    """
    layers: list[nn.Module] = []
    width = n_features
    for size in hidden_layer_sizes:
        layers += [nn.Linear(width, size), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    if dropout and not hidden_layer_sizes:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, n_classes))


class StandardisedLinear(nn.Module):
    """A Linear on features brought to mean 0 and standard deviation 1.

    The same scale for every feature makes the convex problem well-conditioned and gives
    ``weight_decay`` one meaning whatever the backbone.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
        Give the mean and standard deviation.
    weights : Tensor of shape (n,)
        What each row counts in them.
    n_classes : int
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, features: torch.Tensor, weights: torch.Tensor, n_classes: int) -> None:
        super().__init__()
        share = (weights / weights.sum()).to(features)
        mean = share @ features
        variance = share @ (features - mean) ** 2
        # A feature that never changes tells nothing; it must not be blown up either.
        std = variance.mean().sqrt().expand_as(mean).clone()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.linear = nn.Linear(features.shape[1], n_classes, dtype=features.dtype)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear((x - self.mean) / self.std)
        return scores

    def folded(self) -> nn.Linear:
        """One Linear, in float32, that does both steps."""
        weight = self.linear.weight.detach() / self.std
        bias = self.linear.bias.detach() - weight @ self.mean
        plain = nn.Linear(weight.shape[1], weight.shape[0])
        plain.load_state_dict({"weight": weight.float(), "bias": bias.float()})
        return plain

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


class NormalisedLinear(nn.Module):
    """A Linear on features that are centred and divided by one number.

    The number is the root mean square length of the centred rows, so that
    ``weight_decay`` means the same for every backbone, however wide it is and however
    large its activations are. Features keep their relative scale: dividing each by its
    own standard deviation costs accuracy, because it blows up those that hardly vary.

    Fine-tuning keeps this form. Adam moves every weight by about the learning rate
    whatever its size, so the size of a solved head's weights must not depend on how
    large the backbone's activations happen to be.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    weights : Tensor of shape (n,)
        What each row counts in mean and length.
    n_classes : int
    """

    mean: torch.Tensor
    length: torch.Tensor

    def __init__(self, features: torch.Tensor, weights: torch.Tensor, n_classes: int) -> None:
        super().__init__()
        share = (weights / weights.sum()).to(features)
        mean = share @ features
        length = (share @ ((features - mean) ** 2).sum(1)).sqrt()
        self.register_buffer("mean", mean)
        # Rows that are all the same have no length but rounding, and nothing to divide.
        has_length = length > 1e-6 * mean.norm()
        self.register_buffer("length", length if has_length else torch.ones_like(length))
        self.linear = nn.Linear(features.shape[1], n_classes, dtype=features.dtype)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear((x - self.mean) / self.length)
        return scores

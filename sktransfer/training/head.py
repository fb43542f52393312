"""The new last layers: from rows of features to one score a class."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer.training.batches import RowBatches


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
    mean : Tensor of shape (n_features,)
        Of the features.
    length : Tensor of shape ()
        Root mean square length of the centred rows.
    n_classes : int
    """

    mean: Tensor
    length: Tensor

    def __init__(self, mean: Tensor, length: Tensor, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        # Rows that are all the same have no length but rounding, and nothing to divide.
        has_length = length > 1e-6 * mean.norm()
        self.register_buffer("length", length if has_length else torch.ones_like(length))
        self.linear = nn.Linear(len(mean), n_classes, dtype=mean.dtype)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        # Scaling the weights is the same as scaling the rows, and there are fewer of them.
        weight = self.linear.weight / self.length
        return functional.linear(
            x.flatten(1).to(weight.dtype), weight, self.linear.bias - weight @ self.mean
        )


def mean_and_length(batches: RowBatches) -> tuple[Tensor, Tensor]:
    """What `NormalisedLinear` takes, in float64 and in two passes over weighted rows."""
    total = sum(weights.double().sum() for _, (_, weights) in batches)
    mean = sum(weights.double() @ X.flatten(1).double() for X, (_, weights) in batches) / total
    squares = sum(
        weights.double() @ ((X.flatten(1).double() - mean) ** 2).sum(1)
        for X, (_, weights) in batches
    )
    return torch.as_tensor(mean), (torch.as_tensor(squares) / total).sqrt()

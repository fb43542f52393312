"""The new last layers: from features to one score per class."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from sktransfer.training.losses import Targets


class Dropout(nn.Dropout):
    """Dropout that can also draw in prediction, one mask for all rows.

    With one mask per row, the prediction for a picture would depend on its batch.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.sampled = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.sampled:
            return super().forward(x)
        return x * functional.dropout(torch.ones_like(x[:1]), self.p, training=True)


class Scaled(nn.Module):
    """Divide features by their root mean square, so that a learning rate suits all backbones.

    They are not centred: the first rows may be few or alike, and centred ones would then be
    hardly more than rounding errors.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
        Features whose root mean square divides all others.
    """

    length: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        length = features.float().square().mean().sqrt()
        self.register_buffer("length", length if length > 0 else torch.ones_like(length))

    def forward(self, x: Tensor) -> Tensor:
        return x / self.length


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
        Probability of dropping a value; 0 for no dropout.
    n_classes : int
    """
    layers: list[nn.Module] = []
    width = n_features
    for size in hidden_layer_sizes:
        layers += [nn.Linear(width, size), nn.ReLU()]
        if dropout:
            layers.append(Dropout(dropout))
        width = size
    if dropout and not hidden_layer_sizes:
        layers.append(Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, n_classes))


class NormalisedLinear(nn.Module):
    """A Linear on features that are centred and divided by one number.

    The number is the root mean square length of the centred feature vectors, so that
    ``weight_decay`` means the same for every backbone, whatever the number and size of its
    features. Features keep their relative scale: dividing each by its own standard deviation
    costs accuracy, because it enlarges those that hardly vary.

    Fine-tuning keeps this form. Adam moves each weight by about the learning rate, whatever
    its size; so the size of a solved head's weights must not depend on the size of the
    backbone's activations.

    Parameters
    ----------
    mean : Tensor of shape (n_features,)
        Mean of the features.
    length : Tensor of shape ()
        Root mean square length of the centred feature vectors.
    n_classes : int
    """

    mean: Tensor
    length: Tensor

    def __init__(self, mean: Tensor, length: Tensor, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self._has_length = has_length(mean, length)
        self.register_buffer("length", length if self._has_length else torch.ones_like(length))
        # Usual initial values would be drawn from torch's global generator, and be thrown away.
        self.linear = skip_init(nn.Linear, len(mean), n_classes, dtype=mean.dtype)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self._row_length = 1.0  # of feature vectors after the division
        self.n_rows = 0.0  # total weight of the rows that it was solved for

    @property
    def numbers(self) -> tuple[bool, float, float]:
        """What it knows beside its tensors, for `restore`."""
        return self._has_length, self._row_length, self.n_rows

    def restore(
        self, length: Tensor, linear: nn.Linear, numbers: tuple[bool, float, float]
    ) -> None:
        """Give it, in place, the values of another one with the same mean."""
        self.length.copy_(length)
        self.linear = linear
        self._has_length, self._row_length, self.n_rows = numbers

    def begin_like(self, other: "NormalisedLinear | nn.Linear") -> None:
        """Give the same scores as another head, which may have another mean and length, or none."""
        linear: nn.Linear = other if isinstance(other, nn.Linear) else other.linear
        mean, length = torch.zeros_like(self.mean), torch.ones_like(self.length)
        if isinstance(other, NormalisedLinear):
            mean, length = _as(other.mean, mean), _as(other.length, mean)
        with torch.no_grad():
            weight = _as(linear.weight, mean) / length
            self.linear.weight.copy_(weight * self.length)
            self.linear.bias.copy_(_as(linear.bias, mean) + weight @ (self.mean - mean))

    def scale_with(self, mean: Tensor, length: Tensor, n_rows: float) -> tuple[Tensor, Tensor]:
        """Mean and length of the rows that it was solved for together with `n_rows` others."""
        share = n_rows / (self.n_rows + n_rows)
        own, own_length = _as(self.mean, mean), _as(self.length, mean) * self._row_length
        if not self._has_length:
            own_length = torch.zeros_like(own_length)
        step = mean - own
        squares = (1 - share) * own_length**2 + share * length**2
        squares = squares + share * (1 - share) * (step**2).sum()
        return own + share * step, squares.sqrt()

    @property
    def spread(self) -> float:
        """Mean squared length of the centred features; 0 if they are equal but for rounding."""
        return float(self.length * self._row_length) ** 2 if self._has_length else 0.0

    def per_feature(self) -> "NormalisedLinear":
        """The same scores, from feature vectors whose single features have a mean square of 1.

        The n features of a vector of length 1 are about 1 / sqrt(n), and their weights are
        sqrt(n) times as large as the weights that Adam's steps, of the size of lr, suit.
        """
        return self._with_rows_of(len(self.mean) ** 0.5)

    def per_row(self) -> "NormalisedLinear":
        """The same scores, from feature vectors of mean square length 1, as in the beginning."""
        return self._with_rows_of(1.0)

    def _with_rows_of(self, length: float) -> "NormalisedLinear":
        factor, self._row_length = length / self._row_length, length
        with torch.no_grad():
            self.length.div_(factor)
            self.linear.weight.div_(factor)
        return self

    def forward(self, x: Tensor) -> Tensor:
        # Scaling the weights gives the same as scaling the features, of which there are more.
        weight = self.linear.weight / self.length
        # In full precision: where means are large, subtracting them leaves few digits.
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(
                x.flatten(1).to(weight.dtype), weight, self.linear.bias - weight @ self.mean
            )


def has_length(mean: Tensor, length: Tensor) -> bool:
    """Return False if the length is that of rounding errors, which must not be enlarged."""
    return bool(length > 1e-6 * mean.norm())  # where feature vectors are equal, or nearly


def _as(value: Tensor, like: Tensor) -> Tensor:
    """A value with the device and dtype of another.

    In two steps: on a Mac torch would cast on the GPU, which has no float64, before it copies.
    """
    return value.to(like.device).to(like.dtype)


def mean_and_length(
    batches: Callable[[], Iterable[tuple[Tensor, Targets]]],
) -> tuple[Tensor, Tensor]:
    """Mean and length for `NormalisedLinear`, in float64, of weighted rows.

    In two passes: the sum of squares minus the square of the sum would lose digits where means
    are large.

    Parameters
    ----------
    batches : callable
        Starts a pass over the rows.
    """
    total = sum(targets.weights.double().sum() for _, targets in batches())
    mean = sum(t.weights.double() @ X.flatten(1).double() for X, t in batches()) / total
    squares = sum(
        t.weights.double() @ ((X.flatten(1).double() - mean) ** 2).sum(1) for X, t in batches()
    )
    return torch.as_tensor(mean), (torch.as_tensor(squares) / total).sqrt()

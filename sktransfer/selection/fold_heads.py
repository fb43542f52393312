"""The linear heads of a cross-validation, one for each fold, solved as one problem."""

import torch
from torch import Tensor
from torch.nn import functional

from sktransfer._common.threads import one_thread
from sktransfer.training.head import has_length
from sktransfer.training.losses import RowLoss, Targets

# L-BFGS stops when no entry of the gradient is larger. On features of two backbones for four sets,
# 30 to 481 rows, the gains of candidates are then within 0.001 of their standard errors from those
# of heads that `solve` solved, and within 0.04 at a penalty of 1e-6.
_GRADIENT = 1e-6
# These sets need some 100 iterations; without a penalty there may be no end.
_ITERATIONS = 500
# Pairs of steps and gradients: 20 save few evaluations, and cost more time than that.
_PAIRS = 10
# Mean square length of the rows of a fold, relative to that of all rows: below it they are equal.
_NO_LENGTH = 1e-12


@one_thread()  # on small sets several would wait for each other longer than they work
def scores_by_fold(
    X: Tensor, y: Tensor, n_classes: int, shares: Tensor, loss: RowLoss, penalty: float
) -> Tensor:
    """The scores of all rows by the head of each fold.

    The heads are those that `training.lbfgs.solve` finds on the rows of each fold. The sum of their
    objectives is lowest where each of them is. So they are solved at once, by a few large
    operations: for small sets, most of the time would go into the calls of many small ones.

    Parameters
    ----------
    X : Tensor of shape (n, n_features)
    y : Tensor of shape (n,) int64, or (n, n_classes) float
    n_classes : int
    shares : Tensor of shape (n_folds, n), float64
        Share of each row in the mean loss of each head.
    loss : RowLoss
        A convex one.
    penalty : float
        As `weight_decay` of `solve`.

    Returns
    -------
    Tensor of shape (n_folds, n, n_classes), float64
    """
    X, n_folds = _few_columns(_normalised(X.flatten(1).double())), len(shares)
    targets = Targets(y.repeat_interleave(n_folds, dim=0), shares.T.flatten())
    # `solve` divides features by the length of the rows that it learns from. A penalty that grows
    # with its square gives the same scores, and all folds share one X.
    squares = shares @ X.square().sum(1) - (shares @ X).square().sum(1)
    squares = torch.where(squares > _NO_LENGTH, squares, 1.0)
    penalties = penalty / 2 * squares.repeat_interleave(n_classes)
    weight, bias = (
        torch.zeros(n_folds * n_classes, *shape, dtype=X.dtype, requires_grad=True)
        for shape in (X.shape[1:], ())
    )
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        history_size=_PAIRS,
        tolerance_grad=_GRADIENT,
        line_search_fn="strong_wolfe",
    )

    def scores() -> Tensor:
        return functional.linear(X, weight, bias).view(-1, n_classes)

    def objective() -> Tensor:
        optimizer.zero_grad()
        value = targets.weights @ loss(scores(), targets) + penalties @ weight.square().sum(1)
        value.backward()
        return value.detach()

    optimizer.step(objective)
    with torch.no_grad():
        return scores().view(len(X), n_folds, n_classes).transpose(0, 1)


def _normalised(X: Tensor) -> Tensor:
    """Features that are centred and divided by one number, as in `NormalisedLinear`."""
    mean = X.mean(0)
    X = X - mean
    length = X.square().sum(1).mean().sqrt()
    return X / length if has_length(mean, length) else X


def _few_columns(X: Tensor) -> Tensor:
    """At most as many features as rows, with the same products of rows.

    The weights of a penalised head are a sum of rows, so that only these products count: the
    representer theorem, Kimeldorf & Wahba, J. Math. Anal. Appl. 33(1), 1971.
    """
    return torch.linalg.qr(X.T, mode="r").R.T.contiguous() if len(X) < X.shape[1] else X

"""Mixup and CutMix: mix each row of a batch with another, and their targets alike."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sktransfer.exceptions import ParameterError
from sktransfer.training.losses import Targets, as_shares


@dataclass(frozen=True)
class Mixing:
    """Mix a batch, by torch's global generator.

    With both, each batch gets one of them, with equal chance.

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, eq. 1;
    Yun et al., "CutMix", ICCV 2019, eq. 1 and 2. On the activations of frozen stages
    instead of pixels: Verma et al., "Manifold Mixup", ICML 2019.

    Parameters
    ----------
    mixup, cutmix : float
        Parameter of the symmetric Beta distribution from which the share of the other row is
        drawn; 0 for none.
    n_classes : int
    """

    mixup: float
    cutmix: float
    n_classes: int

    def __call__(self, X: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
        """Mixed rows (n, ...), float, and their targets."""
        cuts = self.cutmix > 0 and (not self.mixup or bool(torch.rand(()) < 0.5))
        # Beta takes its dtype from the parameter, which may be an int, and draws only floats.
        alpha = float(self.cutmix if cuts else self.mixup)
        share = 1 - float(torch.distributions.Beta(alpha, alpha).sample())
        # Partners from the same batch cost no further activations, as in both papers.
        partner = torch.randperm(len(X)).to(X.device)
        X = X.float() if not X.is_floating_point() else X
        if cuts:
            X, share = _pasted(X, X[partner], share)
        else:
            X = (1 - share) * X + share * X[partner]
        return X, self._mixed(targets, partner, share)

    def _mixed(self, targets: Targets, partner: Tensor, share: float) -> Targets:
        """Targets whose loss is the mean of both rows' losses, each with its own weight."""
        y, weights, teacher, start = targets
        partner = partner.to(y.device)
        own, other = (1 - share) * weights, share * weights[partner]
        # Two rows of weight 0 must not give 0 / 0.
        total = (own + other).clamp_min(torch.finfo(weights.dtype).tiny)
        shares = as_shares(y, self.n_classes)
        columns = (own / total)[:, None], (other / total)[:, None]
        mixed = columns[0] * shares + columns[1] * shares[partner]
        if teacher is not None:
            teacher = columns[0] * teacher + columns[1] * teacher[partner]
        if start is not None:
            start = (1 - share) * start + share * start[partner]
        return Targets(mixed, own + other, teacher, start)


def _pasted(X: Tensor, other: Tensor, share: float) -> tuple[Tensor, float]:
    """Maps (n, c, h, w) with a box of `other` pasted in, and the area of the box as a share.

    A box that reaches over the edge is cut, so that its area may be smaller than the share drawn.
    """
    if X.ndim != 4:
        raise ParameterError(
            "cutmix pastes pieces of maps, but the trainable stages are fed values of shape "
            f"{tuple(X.shape[1:])}. Use mixup, or another unfreeze_depth."
        )
    h, w = X.shape[2:]
    half_h, half_w = (round(side * share**0.5 / 2) for side in (h, w))
    y, x = (int(torch.randint(side, ())) for side in (h, w))
    top, bottom = max(0, y - half_h), min(h, y + half_h)
    left, right = max(0, x - half_w), min(w, x + half_w)
    X = X.clone()  # the stored activations must stay as they are
    X[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return X, (bottom - top) * (right - left) / (h * w)

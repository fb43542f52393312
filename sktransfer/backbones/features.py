"""The first and last links of a frozen network: pixels to floats, stage outputs to features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sktransfer.images.preprocessing import Preprocessing


class Normalise(nn.Module):
    """uint8 pixels (n, c, h, w) -> floats, by the mean and std of the weights' preset."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        # (x / 255 - mean) / std in two operations instead of three.
        self.register_buffer("scale", (1 / (255 * std))[:, None, None])
        self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.scale.dtype) * self.scale + self.shift


class TappedStages(nn.Module):
    """Run stages in order and pool the outputs of some of them, in one pass.

    Parameters
    ----------
    stages : sequence of (str, Module)
        All that must run, in order, from the first tap to the last.
    taps : sequence of str
        Names of the stages whose outputs become features, in the order of the columns;
        ``"logits"`` is the classifier's output.
    pooling : Module
        Reduces a stage's output to one feature vector per picture.
    classifier : Module, optional
        Needed for ``"logits"``.
    classifier_reads : str, optional
        Name of the stage that feeds the classifier.
    """

    def __init__(
        self,
        stages: Sequence[tuple[str, nn.Module]],
        taps: Sequence[str],
        pooling: nn.Module,
        classifier: nn.Module | None = None,
        classifier_reads: str | None = None,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(dict(stages))
        self.taps = tuple(taps)
        self.pooling = pooling
        self.classifier = classifier
        self.classifier_reads = classifier_reads

    def forward(self, x: Tensor) -> Tensor:
        features: dict[str, Tensor] = {}
        for name, stage in self.stages.items():
            x = stage(x)
            if name in self.taps:
                # Stages after the native pooling output vectors already.
                # A copy: a pooling may give a view, and the next stage may change it in place.
                features[name] = (x if x.ndim == 2 else self.pooling(x)).clone()
            if self.classifier is not None and name == self.classifier_reads:
                features["logits"] = self.classifier(x)
        return torch.cat([features[name] for name in self.taps], dim=1)

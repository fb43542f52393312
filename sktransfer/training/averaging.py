"""An exponential moving average of the weights, with which the trained net predicts."""

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """The average of a module's parameters; buffers are not averaged.

    Source: Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017, eq. 3.

    Parameters
    ----------
    module : Module
        Its own weights and the average change places: training works on the former, and
        validation, callbacks and prediction see the latter.
    decay : float
        Share of the old average in the new one, after each step.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self.average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.shown = False

    def update(self) -> None:
        """Move the average towards the weights after a step."""
        self.average.update_parameters(self._module)

    def state_dict(self) -> dict[str, Any]:
        """The set of weights that is not in the module now, and the number of steps."""
        return {"hidden": self.average.state_dict(), "shown": self.shown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`; the weights in the module are not part of it."""
        self.average.load_state_dict(state["hidden"])
        self.shown = state["shown"]

    def show(self, shown: bool) -> None:
        """Put the average into the module, or its own weights back."""
        if shown != self.shown:
            parameters = self.average.module.parameters()
            for own, averaged in zip(self._module.parameters(), parameters, strict=True):
                # Swapped, not copied: the optimizer keeps its references to the parameters.
                own.data, averaged.data = averaged.data, own.data
            self.shown = shown

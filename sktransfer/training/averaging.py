"""An exponential moving average of the weights, which is what is used in the end."""

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """Keeps the average of a module's parameters beside it; buffers are the module's own.

    Source: Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017, eq. 3.

    Parameters
    ----------
    module : Module
        Trains with its own weights, and shows the average whenever it does not train.
    decay : float
        Share of the average that each step keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self.average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.shown = False

    def update(self) -> None:
        """Take the weights after a step into account."""
        self.average.update_parameters(self._module)

    def state_dict(self) -> dict[str, Any]:
        """The weights that are hidden now, and how many steps the average has seen."""
        return {"hidden": self.average.state_dict(), "shown": self.shown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave; the module's own weights are not part of it."""
        self.average.load_state_dict(state["hidden"])
        self.shown = state["shown"]

    def show(self, shown: bool) -> None:
        """Exchange the module's weights with the average, unless that has been done."""
        if shown != self.shown:
            parameters = self.average.module.parameters()
            for own, averaged in zip(self._module.parameters(), parameters, strict=True):
                own.data, averaged.data = averaged.data, own.data
            self.shown = shown

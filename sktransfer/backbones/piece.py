"""A part of a recorded graph, as a module."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn


@dataclass(frozen=True)
class _Result:
    """The result of an earlier step, by its number; 0 is the input."""

    number: int


@dataclass(frozen=True)
class _Step:
    """One node of a graph.

    Parameters
    ----------
    kind : str
        "call_module", "call_method", "call_function" or "get_attr", as in torch.fx.
    target : str or callable
        Name of the submodule, method or attribute, or the function.
    args, kwargs : tuple, dict
        With `_Result` where results of earlier steps go.
    """

    kind: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Piece(nn.Module):
    """Run the steps of a graph, one after the other.

    torch's own ``GraphModule`` is not used: to open a pickle of one, torch records it again,
    which stops all modules of the process that run in other threads.

    Parameters
    ----------
    graph : torch.fx.Graph
        Of one input and one output.
    find : callable
        Returns the module, parameter, buffer or constant that a name in the graph stands for.
    """

    def __init__(self, graph: fx.Graph, find: Callable[[str], Any]) -> None:
        super().__init__()
        results: dict[fx.Node, _Result] = {}
        last_use: dict[int, int] = {}
        self._steps: list[_Step] = []
        for node in graph.nodes:
            args = _translated(node.args, results)
            if node.op == "output":
                (self._output,) = args
                continue
            if node.op != "placeholder":
                self._steps.append(
                    _Step(node.op, node.target, args, _translated(node.kwargs, results))
                )
            for used in node.all_input_nodes:
                last_use[results[used].number] = len(self._steps)
            results[node] = _Result(len(self._steps))
            if node.op in ("call_module", "get_attr"):
                _attach(self, str(node.target), find(str(node.target)))
        # By step: results that no later step needs. A long network would keep all its maps.
        self._unused: dict[int, list[int]] = {}
        for result, step in last_use.items():
            if result != self._output.number:
                self._unused.setdefault(step, []).append(result)

    def forward(self, x: Tensor) -> Any:
        results: list[Any] = [x]
        for number, step in enumerate(self._steps, start=1):
            args, kwargs = _filled(step.args, results), _filled(step.kwargs, results)
            results.append(self._run(step, args, kwargs))
            for unused in self._unused.get(number, ()):
                results[unused] = None
        return results[self._output.number]

    def _run(self, step: _Step, args: Any, kwargs: Any) -> Any:
        if step.kind == "call_module":
            return self.get_submodule(step.target)(*args, **kwargs)
        if step.kind == "call_method":
            return getattr(args[0], step.target)(*args[1:], **kwargs)
        if step.kind == "call_function":
            return step.target(*args, **kwargs)
        return operator.attrgetter(step.target)(self)


def _attach(root: nn.Module, name: str, value: Any) -> None:
    """Give `root` a submodule, parameter or buffer by a name with dots."""
    *parents, last = name.split(".")
    for parent in parents:
        if parent not in root._modules:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        root.register_buffer(last, value)
    else:
        setattr(root, last, value)


def _translated(value: Any, results: dict[fx.Node, _Result]) -> Any:
    """Arguments of a node, with numbers of steps in place of nodes."""
    return _mapped(value, lambda each: results[each] if isinstance(each, fx.Node) else each)


def _filled(value: Any, results: list[Any]) -> Any:
    """Arguments of a step, with results in place of their numbers."""
    return _mapped(value, lambda each: results[each.number] if isinstance(each, _Result) else each)


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple):
        return tuple(_mapped(each, function) for each in value)
    if isinstance(value, list):
        return [_mapped(each, function) for each in value]
    if isinstance(value, dict):
        return {key: _mapped(each, function) for key, each in value.items()}
    if isinstance(value, slice):
        return slice(*(_mapped(each, function) for each in (value.start, value.stop, value.step)))
    return function(value)

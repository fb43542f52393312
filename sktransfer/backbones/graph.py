"""Find the places where the graph of a network can be cut, and make pieces of it."""

import math
import operator
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, fx, nn

from sktransfer.backbones.piece import Piece
from sktransfer.backbones.tracing import BATCH, varies
from sktransfer.exceptions import BackboneError


class GraphCut:
    """Places where a recorded graph can be cut in two.

    Parameters
    ----------
    network : Module
        Has the modules that the graph names.
    graph : torch.fx.Graph
        As `recorded` makes it.
    """

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self.network = network
        self.nodes = list(graph.nodes)
        self.place = {node: i for i, node in enumerate(self.nodes)}
        # What does not vary, such as position embeddings, is computed in every piece that needs it.
        self.variable = {node for node in self.nodes[:-1] if varies(node)}
        self.start = self.nodes[0]
        self.end = self.nodes[-1].args[0]
        if not isinstance(self.end, fx.Node) or not isinstance(_value(self.end), Tensor):
            raise TypeError("its output is not one tensor")
        if any(map(_is_dropout_off, self.nodes)):
            raise TypeError("its functional dropout would be recorded as switched off")
        # By place: the one tensor that all nodes behind it need.
        self.tensors = self._tensors()

    def _tensors(self) -> dict[int, fx.Node]:
        place = self.place.__getitem__
        last_use = {node: max(map(place, node.users), default=-1) for node in self.variable}
        found: dict[int, fx.Node] = {}
        alive: list[fx.Node] = []
        for i, node in enumerate(self.nodes[:-1]):
            alive = [each for each in (*alive, node) if last_use.get(each, -1) > i]
            tensors = [each for each in alive if isinstance(_value(each), Tensor)]
            # Numbers can be written down, or computed from any tensor of the batch.
            numbers = [each for each in alive if _are_numbers(_value(each))]
            is_cut = len(tensors) == 1 and len(alive) == 1 + len(numbers)
            if is_cut and i > 0 and shape_of(tensors[0])[:1] == (BATCH,):
                found[i] = tensors[0]
        return found

    def end_before(self, module: str) -> None:
        """Let the graph end with the input of a submodule."""
        calls = [node for node in self.nodes if node.target == module]
        if len(calls) != 1 or len(calls[0].all_input_nodes) != 1:
            raise BackboneError(f"It does not call classifier={module!r} once, on one tensor.")
        (self.end,) = calls[0].all_input_nodes
        last = self.place[self.end]
        self.tensors = {place: at for place, at in self.tensors.items() if place < last}

    def named(self, stages: Sequence[str] | None) -> tuple[list[str], list[int]]:
        """Names of the stages, by default found, and the places between them."""
        if stages:
            return [stage.replace(".", "_") for stage in stages], self.after(stages)
        names, places = self.levels()
        return (names, places) if len(names) > 1 else self.blocks()

    def levels(self) -> tuple[list[str], list[int]]:
        """Names of the levels of resolution, and the places between them."""
        places: list[int] = []
        # Not after functions: between them, tokens may lie in another order.
        of_modules = [i for i in self.tensors if self._is_output_of_module(self.nodes[i])]
        for place, following in pairwise(of_modules):
            start = places[-1] if places else 0
            changes = _side(self.tensors[place]) != _side(self.tensors[following])
            if changes and self._has_matrices(start, place):
                places.append(place)
        # What follows the last level, such as a normalisation, belongs to it.
        if places and not self._has_matrices(places[-1], len(self.nodes)):
            places.pop()
        return [f"level{i + 1}" for i in range(len(places) + 1)], places

    def _is_output_of_module(self, node: fx.Node) -> bool:
        if node.target is operator.getitem:  # of a module that returns a tuple
            node = node.all_input_nodes[0]
        return node.op == "call_module"

    def blocks(self) -> tuple[list[str], list[int]]:
        """Names of the blocks of a network of one resolution, and the places between them."""
        numbered = [each for each in self.nodes if each.op == "call_module" and _is_numbered(each)]
        counts = Counter(_parent(node) for node in numbered)
        if not counts or counts.most_common(1)[0][1] == 1:
            return ["network"], []
        parent = counts.most_common(1)[0][0]
        blocks = [node for node in numbered if _parent(node) == parent]
        names, places = [str(blocks[-1].target).replace(".", "_")], list[int]()
        # Blocks that can't be parted are one stage, which has the name of the last of them.
        for block, following in reversed([*pairwise(blocks)]):
            place = self._first_cut(block, following)
            if place is not None:
                names.insert(0, str(block.target).replace(".", "_"))
                places.insert(0, place)
        before = [place for place in self.tensors if place < self.place[blocks[0]]]
        if not places:
            return ["network"], []
        if before and self._has_matrices(0, before[-1]):
            names, places = ["stem", *names], [before[-1], *places]
        return names, places

    def after(self, stages: Sequence[str]) -> list[int]:
        """Places after the calls of submodules; the last stage goes on to the end."""
        calls = []
        for stage in stages:
            of = [node for node in self.nodes if f"{node.target}.".startswith(f"{stage}.")]
            if not of:
                raise BackboneError(f"{stage!r} is no submodule that it calls.")
            calls.append(of[-1])
        places = [self.place[node] for node in calls]
        if places != sorted(places):
            raise BackboneError(f"It does not call {list(stages)} in this order.")
        found = []
        for stage, (node, until) in zip(stages, pairwise(calls), strict=False):
            place = self._first_cut(node, until)
            if place is None:
                raise BackboneError(f"After {stage!r}, more than one tensor is needed later.")
            found.append(place)
        return found

    def _first_cut(self, node: fx.Node, until: fx.Node) -> int | None:
        places = range(self.place[node], self.place[until])
        return next((place for place in places if place in self.tensors), None)

    def _has_matrices(self, after: int, to: int) -> bool:
        modules = [
            self.network.get_submodule(str(node.target))
            for node in self.nodes[after + 1 : to + 1]
            if node.op == "call_module"
        ]
        return any(p.ndim > 1 for module in modules for p in module.parameters())

    def pieces(self, places: Sequence[int]) -> list[nn.Module]:
        """The pieces between cuts at `places`, from the start to the end."""
        starts = [(0, self.start), *((place, self.tensors[place]) for place in places)]
        ends = [*(tensor for _, tensor in starts[1:]), self.end]
        return [self._piece(*start, end) for start, end in zip(starts, ends, strict=True)]

    def _piece(self, place: int, first: fx.Node, last: fx.Node) -> nn.Module:
        """What computes `last` from `first`, which is all that is needed after `place`."""
        graph = fx.Graph()
        copies: dict[fx.Node, Any] = {first: graph.placeholder("x")}
        for node in self._needed(place, first, last):
            if self._is_before(place, node):
                copies[node] = _numbers(_value(node), graph, copies[first])
            else:
                copies[node] = graph.node_copy(node, copies.__getitem__)
                copies[node].meta = {}
        graph.output(copies[last])
        named = {str(node.target): node for node in copies if isinstance(node.target, str)}
        return Piece(graph, lambda name: self._target(named[name]))

    def _needed(self, place: int, first: fx.Node, last: fx.Node) -> list[fx.Node]:
        """The nodes by which `last` is computed from `first`, in order."""
        needed, waiting = {first}, [last]
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting += [] if self._is_before(place, node) else node.all_input_nodes
        return sorted(needed - {first}, key=self.place.__getitem__)

    def _is_before(self, place: int, node: fx.Node) -> bool:
        return node in self.variable and self.place[node] <= place

    def _target(self, node: fx.Node) -> Any:
        """The module, parameter, buffer or constant that a node names."""
        if node.op == "call_module":
            return self.network.get_submodule(str(node.target))
        if "constant" in node.meta:
            if node.meta["constant"].is_meta:
                raise BackboneError(f"Its constant {node.target} has no value.")
            return node.meta["constant"]
        return operator.attrgetter(str(node.target))(self.network)


def _is_dropout_off(node: fx.Node) -> bool:
    """True for dropout that is a function, not a module, and has something to drop."""
    if node.op != "call_function" or "dropout" not in getattr(node.target, "__name__", ""):
        return False
    p = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    return bool(p != 0)


def _are_numbers(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_are_numbers, value))
    return isinstance(value, int)


def _numbers(value: Any, graph: fx.Graph, x: fx.Node) -> Any:
    """Numbers as a piece needs them whose input is `x`."""
    if isinstance(value, tuple | list):
        return type(value)(_numbers(each, graph, x) for each in value)
    if value % BATCH:
        return value
    length = graph.call_function(operator.getitem, (graph.call_function(getattr, (x, "shape")), 0))
    return graph.call_function(operator.mul, (length, value // BATCH))


def _value(node: fx.Node) -> Any:
    return node.meta["value"]


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of the tensor that a node of a recorded graph stands for."""
    return tuple(_value(node).shape)


def _side(node: fx.Node) -> int:
    """Side of the square of positions; class tokens are too few to make it larger."""
    _, *sizes = shape_of(node)
    if len(sizes) == 3:
        return sizes[1]  # the middle one is a side, wherever the channels are
    return math.isqrt(sizes[0]) if len(sizes) == 2 else 1


def _parent(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[0]


def _is_numbered(node: fx.Node) -> bool:
    return str(node.target).rpartition(".")[2].isdecimal()

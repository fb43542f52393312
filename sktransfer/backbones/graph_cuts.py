"""Cut any network into stages, by the graph of the modules that it calls.

torchvision's networks are cut by the rules of ``stages``. For others the graph is recorded
(``tracing``), and cut where one tensor holds all that the rest of the network needs. A stage is a
level of resolution there too; a network of one resolution is cut at its blocks. The pieces share
the modules of the network, so they keep what these do in training: dropout, BatchNorm.
"""

import math
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision.ops import Permute

from sktransfer.backbones.pooling import Pool
from sktransfer.backbones.stages import CutNetwork, NamedModules
from sktransfer.backbones.tracing import BATCH, recorded, varies
from sktransfer.backbones.without_values import without_values
from sktransfer.exceptions import BackboneError

Call = Callable[[Any, Tensor], Any]


def cut_by_graph(
    network: nn.Module,
    call: Call,
    image_size: int,
    *,
    n_channels: int = 3,
    stages: Sequence[str] | None = None,
    is_channels_last: bool = False,
) -> tuple[NamedModules, tuple[int, ...]]:
    """Cut a call of a network on pictures, up to its last map or tokens.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    call : callable
        Gets the network and pictures (n, n_channels, image_size, image_size).
    stages : sequence of str, optional
        Names of submodules in the order of their calls, each the last one of a stage. By default
        stages are the levels of resolution, or the blocks of a network that has only one.
    is_channels_last : bool
        If maps whose sides and channels are equal are (n, h, w, c).

    Returns
    -------
    stages : list of (str, Module)
        Maps between them are (n, c, h, w).
    shape : tuple of int
        Of the output of the call, without the batch, as the network itself gives it.

    Raises
    ------
    BackboneError
        If the network can't be cut so.
    """
    cut = _recorded_cut(network, call, (n_channels, image_size, image_size), stages or ())
    names, places = cut.named(stages)
    return _turned(cut, names, places, is_channels_last), _shape(cut.end)[1:]


def _turned(
    cut: "_GraphCut", names: Sequence[str], places: Sequence[int], is_channels_last: bool = False
) -> NamedModules:
    """The pieces, between which maps are (n, c, h, w)."""
    ends = [cut.tensors[place] for place in places]
    turned = [_is_channels_last(_shape(end), is_channels_last) for end in (*ends, cut.end)]
    modules = []
    for piece, before, after in zip(cut.pieces(places), [False, *turned], turned, strict=False):
        to_last = [Permute([0, 2, 3, 1])] if before else []
        to_first = [Permute([0, 3, 1, 2])] if after else []
        turns = to_last or to_first
        modules.append(nn.Sequential(*to_last, piece, *to_first) if turns else piece)
    return list(zip(names, modules, strict=True))


def cut_whole_by_graph(
    network: nn.Module,
    image_size: int,
    *,
    classifier: str | None = None,
    stages: Sequence[str] | None = None,
) -> tuple[NamedModules, NamedModules]:
    """Cut a network whose own ``forward`` gives features, or scores by its classifier.

    Parameters
    ----------
    classifier : str, optional
        Name of the submodule whose input are the features.

    Returns
    -------
    maps, neck : list of (str, Module)
        The stages up to the last map or tokens, and what makes a vector of these.

    Raises
    ------
    BackboneError
        If the network can't be cut so.
    """
    parts = [*(stages or ()), *([classifier] if classifier else [])]
    cut = _recorded_cut(network, forward, (3, image_size, image_size), parts)
    if classifier:
        cut.end_before(classifier)
    names, places = cut.named(stages)
    maps = [i for i, tensor in cut.tensors.items() if len(_shape(tensor)) > 2]
    last = max(maps, default=0)
    if len(_shape(cut.end)) > 2:
        return _turned(cut, names, places), [("neck", Pool("avg"))]
    if last <= max(places, default=0):
        raise BackboneError("It has no map or tokens after its last stage.")
    *stages_of_maps, (_, neck) = _turned(cut, [*names, "neck"], [*places, last])
    return stages_of_maps, [("neck", neck)]


def forward(network: nn.Module, x: Tensor) -> Any:
    """Call a network as torch does."""
    return network(x)


def neck_by_graph(
    network: nn.Module,
    call: Call,
    shape: tuple[int, ...],
    *,
    without: Sequence[str] = (),
    is_channels_last: bool = False,
) -> nn.Module:
    """One piece for a call of a network on its last map or tokens.

    Parameters
    ----------
    shape : tuple of int
        Of the map or tokens, without the batch, as `cut_by_graph` returns it.
    without : sequence of str
        Names of submodules that the call leaves out, such as the classifier, though it uses others
        of the same parent.
    """
    (piece,) = _recorded_cut(network, call, shape, without).pieces([])
    if _is_channels_last((BATCH, *shape), is_channels_last):
        return nn.Sequential(Permute([0, 2, 3, 1]), piece)
    return piece


def _recorded_cut(
    network: nn.Module, call: Call, shape: tuple[int, ...], parts: Sequence[str]
) -> "_GraphCut":
    """The cut of a call whose graph shows `parts`, and not only what contains them."""
    opened = {parent for part in parts for parent in _parents(part)}
    try:
        return _GraphCut(network, recorded(without_values(network), call, shape, opened))
    # Networks are code of others, which can fail in any way when it is recorded.
    except Exception as error:
        raise BackboneError(f"It can't be recorded: {type(error).__name__}: {error}") from error


def check_pieces(pieces: CutNetwork, pictures: Tensor, features: Tensor) -> None:
    """Raise unless the pieces compute from pictures what the network has computed.

    Raises
    ------
    BackboneError
    """
    x = pictures
    with torch.inference_mode():
        for _, module in (*pieces.maps, *pieces.neck):
            x = module(x)
    if not are_close(x, features):
        raise BackboneError("Its parts give other features than the whole.")


def are_close(found: Tensor, expected: Tensor) -> bool:
    """True where only the order of additions differs."""
    tolerance = 1e-5 * float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found, expected, 0, tolerance)


class _GraphCut:
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
            if is_cut and i > 0 and _shape(tensors[0])[:1] == (BATCH,):
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
        named = [node for node in copies if node.op in ("call_module", "get_attr")]
        targets = {str(node.target): self._target(node) for node in named}
        return fx.GraphModule(targets, graph)

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


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(_value(node).shape)


def _side(node: fx.Node) -> int:
    """Side of the square of positions; class tokens are too few to make it larger."""
    _, *sizes = _shape(node)
    if len(sizes) == 3:
        return sizes[1]  # the middle one is a side, wherever the channels are
    return math.isqrt(sizes[0]) if len(sizes) == 2 else 1


def _is_channels_last(shape: tuple[int, ...], otherwise: bool) -> bool:
    if len(shape) != 4:
        return False
    _, first, middle, last = shape
    return otherwise if first == middle == last else first == middle


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _parent(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[0]


def _is_numbered(node: fx.Node) -> bool:
    return str(node.target).rpartition(".")[2].isdecimal()

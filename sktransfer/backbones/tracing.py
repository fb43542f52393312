"""Record a network as a graph of the modules that it calls, with the shapes between them."""

import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from sktransfer._common.forks import after_fork_in_child

# Networks are recorded on a batch of this many pictures, without values. Sizes that are multiples
# of it depend on the batch and stay variables; all others become plain numbers, so that networks
# may branch on them. A prime, so that no other size is a multiple of it.
BATCH = 1_000_003


# torch replaces methods of all modules while it records, and puts them back afterwards.
_one_at_a_time = threading.Lock()


def _new_lock() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


after_fork_in_child(_new_lock)


class Recorded(nn.Module):
    """A call of a network on one tensor, such as of its ``forward_features``.

    Parameters
    ----------
    network : Module
    call : callable
        Gets the network and the tensor.
    """

    def __init__(self, network: nn.Module, call: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.network, x)


def recorded(
    network: nn.Module,
    call: Callable[[Any, Tensor], Any],
    shape: tuple[int, ...],
    opened: set[str],
) -> fx.Graph:
    """The graph of a call: its nodes are modules, and functions between them.

    Each node has its value without content, a tensor on the meta device or a number, as
    ``node.meta["value"]``, and tells if it `varies`. Constants that the network has no name for
    are ``node.meta["constant"]``. Targets of nodes are names of the submodules of `network`.

    Parameters
    ----------
    network : Module
        On the meta device, in evaluation mode.
    call : callable
        Gets the network and a tensor.
    shape : tuple of int
        Of the tensor, without the batch.
    opened : set of str
        Names of submodules whose own calls are recorded, instead of one call of the whole.
        ``Sequential`` is always opened.

    Raises
    ------
    Exception
        Of any type, if the network does what can't be recorded: it branches on values, or
        changes a list.
    """
    example = torch.empty(BATCH, *shape, device="meta")
    recorder = _Recorder({f"network.{name}" for name in opened}, example)
    with _one_at_a_time:
        graph = recorder.trace(Recorded(network, call))
    for node in graph.nodes:
        if node.op == "get_attr" and not node.target.startswith("network."):
            node.meta["constant"] = getattr(recorder.root, node.target)
        if isinstance(node.target, str):
            node.target = node.target.removeprefix("network.")
    return graph


class _Recorder(fx.Tracer):
    """torch's tracer, which also computes the value of each node, without content."""

    # A buffer is a node, as a parameter is: here it has no content that could be written down.
    proxy_buffer_attributes = True

    def __init__(self, opened: set[str], example: Tensor) -> None:
        super().__init__()
        self._opened, self._example, self._is_computing = opened, example, False
        self._thread = threading.get_ident()

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        is_open = type(module) is nn.Sequential or name in self._opened or name == "network"
        return not is_open

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _ProxyWithShape(node, self)

    @property
    def _is_recording(self) -> bool:
        # While a value is computed, and in other threads, modules and parameters are torch's own.
        return not self._is_computing and threading.get_ident() == self._thread

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        if self._is_recording:
            return super().call_module(m, forward, args, dict(kwargs))
        return forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if not self._is_recording:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        inputs = proxy.node.all_input_nodes
        proxy.node.meta["varies"] = kind == "placeholder" or any(map(varies, inputs))
        was, self._is_computing = self._is_computing, True
        try:
            with torch.no_grad():
                proxy.node.meta["value"] = self._value(kind, target, args, kwargs)
        finally:
            self._is_computing = was
        return proxy

    def to_bool(self, obj: fx.Proxy) -> bool:
        # The same for all batches: the number of elements of a buffer, say.
        if not varies(obj.node) and isinstance(_value_of(obj), bool | int):
            return bool(_value_of(obj))
        return super().to_bool(obj)

    def _value(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = fx.node.map_aggregate((args, kwargs), _value_of)
        if kind == "call_module":
            return self.root.get_submodule(target)(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        if kind == "call_function":
            return target(*args, **kwargs)
        if kind == "get_attr":
            return operator.attrgetter(target)(self.root)
        return self._example if kind == "placeholder" else None


def varies(node: fx.Node) -> bool:
    """True if the value of a node of a recorded graph depends on the picture or the batch."""
    return bool(node.meta.get("varies", False))


def _value_of(argument: Any) -> Any:
    if isinstance(argument, fx.Proxy):
        return argument.node.meta["value"]
    # A constant that the network has made, such as a grid of positions.
    return argument.to("meta") if isinstance(argument, Tensor) else argument


class _ProxyWithShape(fx.Proxy):
    """A recorded value whose sizes are numbers, but for those that depend on the batch."""

    @property
    def shape(self) -> tuple[Any, ...]:
        sizes: list[Any] = []
        for dim, size in enumerate(_value_of(self).shape):
            if size % BATCH == 0:
                function = self.tracer.create_proxy
                whole = function("call_function", getattr, (self, "shape"), {})
                size = function("call_function", operator.getitem, (whole, dim), {})
            sizes.append(size)
        return tuple(sizes)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    @property
    def ndim(self) -> int:
        return int(_value_of(self).ndim)

    def dim(self) -> int:
        return self.ndim

    def __len__(self) -> int:
        return len(_value_of(self))

    def __iter__(self) -> Any:
        if len(self) % BATCH == 0:
            return super().__iter__()
        return iter([operator.getitem(self, i) for i in range(len(self))])

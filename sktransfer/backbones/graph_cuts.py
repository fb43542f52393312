"""Cut any network into stages, by the graph of the modules that it calls.

torchvision's networks are cut by the rules of ``stages``. For others the graph is recorded
(``tracing``), and cut where one tensor holds all that the rest of the network needs. A stage is a
level of resolution there too; a network of one resolution is cut at its blocks. The pieces share
the modules of the network, so they keep what these do in training: dropout, BatchNorm.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import Permute

from sktransfer.backbones.graph import GraphCut, shape_of
from sktransfer.backbones.pooling import Pool
from sktransfer.backbones.stages import CutNetwork, NamedModules
from sktransfer.backbones.tracing import BATCH, recorded
from sktransfer.backbones.without_values import without_values
from sktransfer.exceptions import BackboneError

logger = logging.getLogger("sktransfer")

Call = Callable[[Any, Tensor], Any]


def cut_by_graph(
    network: nn.Module,
    call: Call,
    image_size: int,
    *,
    channels: int = 3,
    stages: Sequence[str] | None = None,
    is_channels_last: bool = False,
) -> tuple[NamedModules, tuple[int, ...]]:
    """Cut a call of a network on pictures, up to its last map or tokens.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    call : callable
        Gets the network and pictures (n, channels, image_size, image_size).
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
    cut = _recorded_cut(network, call, (channels, image_size, image_size), stages or ())
    names, places = cut.named(stages)
    return _turned(cut, names, places, is_channels_last), shape_of(cut.end)[1:]


def _turned(
    cut: GraphCut, names: Sequence[str], places: Sequence[int], is_channels_last: bool = False
) -> NamedModules:
    """The pieces, between which maps are (n, c, h, w)."""
    ends = [cut.tensors[place] for place in places]
    turned = [_is_channels_last(shape_of(end), is_channels_last) for end in (*ends, cut.end)]
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
    pool: Pool,
    *,
    channels: int = 3,
    classifier: str | None = None,
    stages: Sequence[str] | None = None,
) -> tuple[NamedModules, NamedModules]:
    """Cut a network whose own ``forward`` gives features, or scores by its classifier.

    Parameters
    ----------
    pool : Pool
        Makes a vector where the features are a map or tokens.
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
    cut = _recorded_cut(network, forward, (channels, image_size, image_size), parts)
    if classifier:
        cut.end_before(classifier)
    names, places = cut.named(stages)
    _check_names(names)
    maps = [i for i, tensor in cut.tensors.items() if len(shape_of(tensor)) > 2]
    last = max(maps, default=0)
    if len(shape_of(cut.end)) > 2:
        return _turned(cut, names, places), [("neck", pool)]
    if last <= max(places, default=0):
        raise BackboneError("It has no map or tokens after its last stage.")
    *stages_of_maps, (_, neck) = _turned(cut, [*names, "neck"], [*places, last])
    return stages_of_maps, [("neck", neck)]


def _check_names(names: Sequence[str]) -> None:
    """Raise if a stage has the name of another, or one that every backbone uses."""
    used = ["neck", "normalise", "logits", *names]
    twice = [name for name in names if used.count(name) > 1]
    if twice:
        raise BackboneError(f"The stage names {twice} are taken; points count as underscores.")


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
) -> GraphCut:
    """The cut of a call whose graph shows `parts`, and not only what contains them."""
    opened = {parent for part in parts for parent in _parents(part)}
    try:
        return GraphCut(network, recorded(without_values(network), call, shape, opened))
    # Networks are code of others, which can fail in any way when it is recorded.
    except Exception as error:
        raise BackboneError(f"It can't be recorded: {type(error).__name__}: {error}") from error


def one_stage(
    name: str, whole: nn.Module, classifier: nn.Module, reason: Exception, code: str = ""
) -> CutNetwork:
    """A network that can't be cut, as a stage from pictures to features; the log says why."""
    logger.info("%s is one stage, because it can't be cut: %s", name, reason)
    return CutNetwork([], [("network", whole)], classifier, nn.Identity(), code=code)


def check_pieces(pieces: CutNetwork, pictures: Tensor, features: Tensor) -> None:
    """Raise unless the pieces compute from pictures what the network has computed.

    Raises
    ------
    BackboneError
    """
    # One picture alone, too: a network may take it for a picture without a batch.
    for n in (len(pictures), 1):
        x = pictures[:n]
        try:
            with torch.inference_mode():
                for _, module in (*pieces.maps, *pieces.neck):
                    x = module(x)
        # Code of others, which can fail in any way.
        except Exception as error:
            raise BackboneError(f"It can't run on {n} pictures: {error}") from error
        if not are_close(x, features[:n]):
            raise BackboneError(
                f"Its parts give other features of {n} pictures than the whole gives of two."
            )


def are_close(found: Tensor, expected: Tensor) -> bool:
    """True where only the order of additions differs."""
    tolerance = 1e-5 * float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found, expected, 0, tolerance)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _is_channels_last(shape: tuple[int, ...], otherwise: bool) -> bool:
    if len(shape) != 4:
        return False
    _, first, middle, last = shape
    return otherwise if first == middle == last else first == middle

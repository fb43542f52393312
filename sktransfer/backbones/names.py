"""Names of all backbones, and the source that each comes from."""

import difflib

from sktransfer.backbones.sources.base import Source
from sktransfer.backbones.sources.lite import Lite
from sktransfer.backbones.sources.torchvision import Torchvision
from sktransfer.exceptions import BackboneError

# In the order in which they are asked for a name.
SOURCES: tuple[Source, ...] = (Torchvision(), Lite())


def backbone_names() -> tuple[str, ...]:
    """Names of the backbones of all sources, sorted."""
    return tuple(sorted(name for source in SOURCES for name in source.names()))


def source_of(name: str) -> Source:
    """The source that has the backbone `name`.

    Raises
    ------
    BackboneError
        If none has; the message suggests the nearest names.
    """
    for source in SOURCES:
        if source.has(name):
            return source
    names = backbone_names()
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise BackboneError(
        f"backbone={name!r} is not a known backbone.{hint} list_backbones() names all {len(names)}."
    )

"""Names of all backbones, and the source that each comes from."""

import contextlib
import difflib

from sktransfer.backbones.sources.base import Source
from sktransfer.backbones.sources.lite import Lite
from sktransfer.backbones.sources.registered import Registered
from sktransfer.backbones.sources.timm import Timm
from sktransfer.backbones.sources.torchvision import Torchvision
from sktransfer.exceptions import BackboneError

# In the order in which they are asked for a name.
REGISTERED = Registered()
SOURCES: dict[str, Source] = {
    "torchvision": Torchvision(),
    "lite": Lite(),
    "timm": Timm(),
    "registered": REGISTERED,
}


def backbone_names(source: str | None = None) -> tuple[str, ...]:
    """Names of the backbones of a source, by default of all that are listed unasked, sorted."""
    asked = [SOURCES[source]] if source else [each for each in SOURCES.values() if each.is_listed]
    return tuple(sorted(name for each in asked for name in each.names()))


def source_of(name: str) -> Source:
    """The source that has the backbone `name`.

    Raises
    ------
    BackboneError
        If none has; the message suggests the nearest names.
    """
    for source in SOURCES.values():
        if source.has(name):
            return source
    near = _nearest(str(name))
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise BackboneError(
        f"backbone={name!r} is not a known backbone.{hint} list_backbones() names all "
        f"{len(backbone_names())} of torchvision and of the extra 'offline', and "
        "list_backbones(source='timm') those of timm. A network of your own is known in a process "
        "that has called register_backbone for it: so must a script that opens a pickle, and each "
        "worker of n_jobs."
    )


def _nearest(name: str) -> list[str]:
    """The three names that are most like `name`, with a source's prefix or without."""
    names = {each: each for each in backbone_names()}
    with contextlib.suppress(BackboneError):  # timm is not installed
        for each in backbone_names("timm"):
            # Tags are left out where the user gave none.
            short = each if "." in name else each.partition(".")[0]
            names.setdefault(short, short)
            names.setdefault(short.removeprefix("timm/"), short)
    found = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return list(dict.fromkeys(names[each] for each in found))

"""A chain of frozen modules, and a digest for what each link of it hands on."""

import hashlib
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from torch import nn

from sktransfer.backbones.freezing import freeze

# Raised when the same weights and settings come to mean other values: a mended stage, a
# changed resize. Nothing computed under another number is taken for the same.
PROTOCOL = 2  # 2: pictures of 12 and 16 bits by their files' own scale


class FrozenNetwork(nn.Sequential):
    """From uint8 pixels through frozen links, each identified by what led to it.

    Whoever knows the digest of a link and of a picture knows the activations: two chains
    that begin with the same links hand on the same values there, whatever follows.

    Parameters
    ----------
    links : sequence of (str, Module)
        In order. A name says what the weights of its module do not, such as a pooling.
        Without links the pixels are handed on.
    backbone_name : str
        Of the backbone that the links are from. No digest depends on it: the names of the
        links already tell backbones apart.
    """

    def __init__(
        self, links: Sequence[tuple[str, nn.Module]] = (), *, backbone_name: str = ""
    ) -> None:
        super().__init__(*(module for _, module in links))
        self.backbone_name = backbone_name
        self.link_names = tuple(name for name, _ in links)
        freeze(self)

    def digests(self, pixels: str) -> list[bytes]:
        """SHA-256 digests of what goes into each link, and of what comes out of the last.

        Parameters
        ----------
        pixels : str
            In words, how a picture became the pixels that enter.

        Returns
        -------
        list of bytes
            One more than there are links.
        """
        digests = [hashlib.sha256(f"{PROTOCOL} {pixels}".encode()).digest()]
        for name, module in zip(self.link_names, self, strict=True):
            parts = digests[-1] + name.encode() + state_digest(module)
            digests.append(hashlib.sha256(parts).digest())
        return digests

    def after(self, start: int) -> nn.Module:
        """The links from number `start` on; itself from 0 on."""
        return self if start == 0 else nn.Sequential(*list(self)[start:])


_STATE_DIGESTS: WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], bytes]] = (
    WeakKeyDictionary()
)


def state_digest(module: nn.Module) -> bytes:
    """SHA-256 of the names and values in a module; kept until one of its tensors changes."""
    state = module.state_dict()
    versions = [(value.data_ptr(), value._version) for value in state.values()]
    known, digest = _STATE_DIGESTS.get(module, (None, b""))
    if known != versions:
        sha = hashlib.sha256()
        for key, value in state.items():
            sha.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            sha.update(value.detach().cpu().contiguous().flatten().numpy())
        digest = sha.digest()
        _STATE_DIGESTS[module] = versions, digest
    return digest

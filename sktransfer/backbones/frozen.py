"""A chain of frozen modules, and digests that identify what each of them outputs."""

import hashlib
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from torch import nn

from sktransfer._common.tensors import bytes_of
from sktransfer.backbones.freezing import freeze

# Raised whenever a change in the code makes the same weights and settings give other values: a
# corrected stage, another way to resize. Activations stored under another number are not used.
PROTOCOL = 2  # 2: pictures of 12 and 16 bits by their files' own scale


class FrozenNetwork(nn.Sequential):
    """Frozen modules in sequence, its links, each identified by all that comes before it.

    The digest of a link and the digest of a picture together identify activations: two chains
    that begin with the same links output the same values there, whatever follows.

    Parameters
    ----------
    links : sequence of (str, Module)
        In order. A name tells apart modules that have equal weights, such as two poolings.
        Without links the output is the pixels.
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
        """SHA-256 digests of the input of each link, and of the output of the last.

        Parameters
        ----------
        pixels : str
            How a picture becomes the pixels that enter, in words (`Preprocessing.cache_key`).

        Returns
        -------
        list of bytes
            One more than there are links.
        """
        digests = [hashlib.sha256(f"{PROTOCOL} {pixels}".encode()).digest()]
        # Each digest includes the one before it, so that equal digests mean equal links from the
        # pixels on.
        for name, module in zip(self.link_names, self, strict=True):
            parts = digests[-1] + name.encode() + state_digest(module)
            digests.append(hashlib.sha256(parts).digest())
        return digests

    def after(self, start: int) -> nn.Module:
        """The links from number `start` on; the network itself for 0."""
        return self if start == 0 else nn.Sequential(*list(self)[start:])


_STATE_DIGESTS: WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], bytes]] = (
    WeakKeyDictionary()
)


def state_digest(module: nn.Module) -> bytes:
    """SHA-256 of the names and values in a module; kept until one of its tensors changes."""
    state = module.state_dict()
    # A write in place raises a tensor's version; another tensor in its place has another address.
    versions = [(value.data_ptr(), value._version) for value in state.values()]
    known, digest = _STATE_DIGESTS.get(module, (None, b""))
    if known != versions:
        sha = hashlib.sha256()
        for key, value in state.items():
            sha.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            # Contiguous: channels-last weights are the same weights.
            sha.update(bytes_of(value).data)
        digest = sha.digest()
        _STATE_DIGESTS[module] = versions, digest
    return digest

"""Converted networks in a store, in parts: SQLite takes no value of more than 1e9 bytes."""

import logging
from hashlib import blake2b

import numpy as np

from sktransfer.activations.store.database import MODELS, Store

logger = logging.getLogger("sktransfer")

_PART = 64 * 2**20  # bytes
# Share of the store's limit that one network may take: it would evict activations, which take
# longer to compute than a network takes to convert.
_SHARE = 0.5


def get_model(store: Store, key: bytes) -> bytes | None:
    """The network stored under `key`; None if any part of it is missing."""
    content = _read(store, key)
    if content is None:
        return None
    parts: list[bytes] = []
    while not parts or len(parts[-1]) == _PART:  # the last one is shorter, or empty
        part = _read(store, _part_key(content, len(parts)))
        if part is None:
            return None
        parts.append(part)
    return b"".join(parts)


def put_model(store: Store, key: bytes, model: bytes) -> None:
    """Store a network, unless it would leave too little room for activations."""
    if len(model) > _SHARE * store.limit:
        logger.info("A model of %d bytes is too large for the cache.", len(model))
        return
    # The keys of the parts depend on the whole, so parts of two conversions are never joined.
    content = blake2b(model, digest_size=32).digest()
    view = memoryview(model)
    for number in range(len(model) // _PART + 1):
        part = view[number * _PART : (number + 1) * _PART]
        store.write(MODELS, {_part_key(content, number): np.frombuffer(part, dtype=np.uint8)})
    # Last: a process that is killed before leaves parts that nothing refers to.
    store.write(MODELS, {key: np.frombuffer(content, dtype=np.uint8)})


def _read(store: Store, key: bytes) -> bytes | None:
    found = store.read(MODELS, [key]).get(key)
    return None if found is None else found.tobytes()


def _part_key(content: bytes, number: int) -> bytes:
    return blake2b(content + number.to_bytes(4, "big"), digest_size=32).digest()

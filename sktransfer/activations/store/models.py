"""Converted networks in a store: in parts, as SQLite takes no value of more than 1e9 bytes."""

import logging
from hashlib import blake2b

import numpy as np

from sktransfer.activations.store.database import MODELS, Store

logger = logging.getLogger("sktransfer")

_PART = 64 * 2**20  # bytes
_SHARE = 0.5  # of the store's limit, that one network may take: the rows are worth more


def get_model(store: Store, key: bytes) -> bytes | None:
    """A network that was put there, if all of it is there."""
    content = _read(store, key)
    if content is None:
        return None
    parts: list[bytes] = []
    while not parts or len(parts[-1]) == _PART:  # the last one is shorter, or empty
        part = _read(store, _name_of_part(content, len(parts)))
        if part is None:
            return None
        parts.append(part)
    return b"".join(parts)


def put_model(store: Store, key: bytes, model: bytes) -> None:
    """Keep a network, unless the rows would have no room beside it."""
    if len(model) > _SHARE * store.limit:
        logger.info("A model of %d bytes is too large for the cache.", len(model))
        return
    # Parts are known by the whole: those of two conversions are never put together.
    content = blake2b(model, digest_size=32).digest()
    view = memoryview(model)
    for number in range(len(model) // _PART + 1):
        part = view[number * _PART : (number + 1) * _PART]
        store.write(MODELS, {_name_of_part(content, number): np.frombuffer(part, dtype=np.uint8)})
    store.write(MODELS, {key: np.frombuffer(content, dtype=np.uint8)})


def _read(store: Store, key: bytes) -> bytes | None:
    row = store.read(MODELS, [key]).get(key)
    return None if row is None else row.tobytes()


def _name_of_part(content: bytes, number: int) -> bytes:
    return blake2b(content + number.to_bytes(4, "big"), digest_size=32).digest()

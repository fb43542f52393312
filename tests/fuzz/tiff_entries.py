"""Change the entries of TIFF directories, which EXIF blocks have as well."""

import struct
from random import Random

from tests.fuzz.mutations import changed

# Sizes, bits, compression, colours, orientation, strips and tiles, and pointers to directories.
_TAGS = (
    *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324),
    *(325, 330, 338, 339, 340, 341, 347, 512, 513, 514, 530, 700, 34377, 34665, 34675, 34853),
    *(37500, 40965, 42112),
)
_VALUES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34676, 34677, 34712, 34925, 50000, 50001)


def changed_entries(rng: Random, data: bytes) -> bytes:
    """Return a TIFF with one change in a directory; other bytes are changed without a plan."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or data[2:4] not in (b"*\0", b"\0*"):
        return changed(rng, data)
    result = bytearray(data)
    try:
        _change(rng, result, order)
    except struct.error:
        return changed(rng, data)
    return bytes(result)


def _change(rng: Random, data: bytearray, order: str) -> None:
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (n_entries,) = struct.unpack_from(f"{order}H", data, directory)
    entry = directory + 2 + 12 * rng.randrange(max(min(n_entries, 64), 1))
    tag, *_ = struct.unpack_from(f"{order}HHII", data, entry)
    change = rng.randrange(8)
    if change == 0:
        struct.pack_into(f"{order}H", data, entry, rng.choice(_TAGS))
    elif change == 1:
        struct.pack_into(f"{order}H", data, entry + 2, rng.choice((*range(14), 16, 17, 18, 65535)))
    elif change == 2:
        struct.pack_into(f"{order}I", data, entry + 4, rng.choice(_VALUES))
    elif change == 3:  # back to a directory: a loop, where the tag points to one
        struct.pack_into(f"{order}HHII", data, entry, rng.choice(_TAGS), 4, 1, directory)
    elif change == 4:
        after = directory + 2 + 12 * n_entries
        struct.pack_into(f"{order}I", data, after, rng.choice((directory, entry, *_VALUES)))
    elif change == 5:
        struct.pack_into(f"{order}H", data, directory, rng.choice((0, 1, n_entries + 1, 65535)))
    else:
        values = _COMPRESSIONS if tag == 259 else _VALUES
        kind = rng.choice((3, 4))
        value = rng.choice(values) if rng.random() < 0.8 else rng.randrange(64)
        packed = struct.pack(f"{order}I", value)
        if kind == 3:
            packed = struct.pack(f"{order}H", value % 65536).ljust(4, b"\0")
        struct.pack_into(f"{order}HI", data, entry + 2, kind, 1)
        data[entry + 8 : entry + 12] = packed

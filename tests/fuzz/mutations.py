"""Change bytes at random, without knowing what they mean."""

from collections.abc import Callable, Sequence
from random import Random

# Values at which arithmetic goes wrong.
_LIMITS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_LONGEST = 200_000  # bytes to which repetition may make a file grow


def _flip_a_bit(rng: Random, data: bytearray) -> None:
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)


def _another_byte(rng: Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def _a_limit(rng: Random, data: bytearray) -> None:
    width, order = rng.choice((1, 2, 4)), rng.choice(("little", "big"))
    value = rng.choice(_LIMITS) % 256**width
    place = rng.randrange(len(data))
    data[place : place + width] = value.to_bytes(width, order)  # type: ignore[arg-type]


def _one_more_or_less(rng: Random, data: bytearray) -> None:
    place = rng.randrange(len(data))
    data[place] = (data[place] + rng.choice((-1, 1))) % 256


def _without_a_piece(rng: Random, data: bytearray) -> None:
    start, length = _piece(rng, data)
    del data[start : start + length]


def _a_piece_again(rng: Random, data: bytearray) -> None:
    start, length = _piece(rng, data)
    times = min(rng.choice((1, 1, 2, 10, 1000)), _LONGEST // length)
    data[start:start] = data[start : start + length] * times


def _random_bytes(rng: Random, data: bytearray) -> None:
    start, length = _piece(rng, data)
    data[start : start + rng.choice((0, length))] = rng.randbytes(length)


def _a_piece_elsewhere(rng: Random, data: bytearray) -> None:
    start, length = _piece(rng, data)
    place = rng.randrange(len(data))
    data[place : place + length] = data[start : start + length]


def _truncated(rng: Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _piece(rng: Random, data: bytearray) -> tuple[int, int]:
    """Start and length of a piece, mostly a short one."""
    longest = rng.choice((1, 4, 16, len(data)))
    return rng.randrange(len(data)), rng.randint(1, longest)


_CHANGES: Sequence[Callable[[Random, bytearray], None]] = (
    *(_flip_a_bit, _another_byte, _a_limit, _one_more_or_less) * 2,
    _without_a_piece,
    _a_piece_again,
    _random_bytes,
    _a_piece_elsewhere,
    _truncated,
)


def changed(rng: Random, data: bytes) -> bytes:
    """Return bytes with one random change."""
    if not data:
        return rng.randbytes(rng.randrange(64))
    result = bytearray(data)
    rng.choice(_CHANGES)(rng, result)
    return bytes(result)


def spliced(rng: Random, first: bytes, second: bytes) -> bytes:
    """Return the beginning of one file and the end of another."""
    at = rng.randint(0, len(first))
    # Mostly at the same place, where the second one has something of the same meaning.
    other = at if rng.random() < 0.5 else rng.randint(0, len(second))
    return first[:at] + second[other:]

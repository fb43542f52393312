"""The search for near copies, by features and by a perceptual hash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils import gen_batches

# Two witnesses must agree, one of them firmly: features see what is drawn but not that it is the
# same file, and the hash of a drawing on white says little. Distances of features are relative to
# the set's median, since networks differ in it: 1 - cosine is 0.66 for EfficientNet-Lite0 and 0.47
# for MobileNetV2 on the same drawings. Chosen on the clip-art, where they take in recoloured
# drawings; benchmarks/data_checks.py tests them on other sets.
_RULES = (
    (0.15, 12),  # nearly the same features: cropped pictures, whose hash differs
    (0.5, 2),  # nearly the same hash: small or recoloured pictures, whose features differ
)
# A median over so few pictures says little, since they may all be copies.
_FEW = 20
_USUAL = 1 / 3
_PAIRS = 20_000
_BLOCK = 256  # rows that are compared with all others at once


class NearCopies(NamedTuple):
    """Groups of pictures that are equal, or nearly so.

    Parameters
    ----------
    equal : list of list of int
        Positions of equal pictures together.
    groups : ndarray of shape (len(equal),), int
        The same number for those that are nearly equal.
    distances : ndarray of shape (len(equal),)
        1 - cosine to the nearest copy that is not equal; infinite where there is none.
    """

    equal: list[list[int]]
    groups: np.ndarray
    distances: np.ndarray

    def of_all(self, n: int) -> np.ndarray:
        """A group for each of n positions; pictures that were not compared have one of their own.

        Returns
        -------
        ndarray of shape (n,), int
        """
        numbers = len(self.equal) + np.arange(n)
        for group, positions in zip(self.groups, self.equal, strict=True):
            numbers[positions] = group
        return numbers


def near_copies(
    equal: list[list[int]], units: np.ndarray, hashes: Sequence[tuple[int, int]]
) -> NearCopies:
    """Group pictures that are nearly equal.

    Parameters
    ----------
    equal : list of list of int
        Positions of equal pictures; one of each is compared.
    units : ndarray of shape (len(equal), d), float32
        Their features, of length 1.
    hashes : sequence of (int, int)
        Their difference hashes, as they are and mirrored.
    """
    n = len(equal)
    groups, nearest = np.arange(n), np.full(n, np.inf)
    for one, other, distances in _pairs(units, _as_bytes(hashes)):
        groups = _joined(groups, one, other)
        for ends in (one, other):
            np.minimum.at(nearest, ends, distances)
    return NearCopies(equal, groups, nearest)


def _joined(groups: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Groups (n,) after some pairs are put together."""
    n = len(groups)
    # Groups are nodes of the graph too, behind the pictures.
    starts, ends = np.append(np.arange(n), one), np.append(n + groups, other)
    graph = coo_array((np.ones(len(starts), np.int8), (starts, ends)), shape=(2 * n, 2 * n))
    members = connected_components(graph, directed=False)[1][:n]
    joined: np.ndarray = np.unique(members, return_inverse=True)[1]
    return joined


def _pairs(units: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Positions of both pictures of each pair, and the distances of their features."""
    scale = _usual_distance(units)
    # Exact, and in blocks: time grows with the square of the rows, memory does not, not even if all
    # pictures are copies of one.
    for block in gen_batches(len(units), _BLOCK):
        distances = 1 - units[block] @ units[block.start :].T
        i, j = np.nonzero(distances <= max(far for far, _ in _RULES) * scale)
        i, j = i[i < j], j[i < j]
        near = distances[i, j]
        i, j = i + block.start, j + block.start
        bits = _bits_that_differ(hashes, i, j)
        agree = np.zeros(len(i), dtype=bool)
        for far, most_bits in _RULES:
            agree |= (near <= far * scale) & (bits <= most_bits)
        if agree.any():
            yield i[agree], j[agree], near[agree]


def _usual_distance(units: np.ndarray) -> float:
    """The median of 1 - cosine over pairs of pictures."""
    n = len(units)
    if n < _FEW:
        return _USUAL
    i, j = np.random.default_rng(0).integers(0, n, (2, _PAIRS))
    i, j = i[i != j], j[i != j]
    # In parts, since the pairs of wide features would take gigabytes.
    parts = [1 - np.einsum("nd,nd->n", units[i[p]], units[j[p]]) for p in gen_batches(len(i), 256)]
    return float(np.median(np.concatenate(parts)))


# NumPy counts bits by itself only since version 2.
_BITS = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


def _as_bytes(hashes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Hashes as an array (n, 2, 8) of bytes."""
    rows = [[list(each.to_bytes(8, "big")) for each in pair] for pair in hashes]
    return np.array(rows, dtype=np.uint8)


def _bits_that_differ(hashes: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Fewest bits (n_pairs,) that differ, where the second picture may be mirrored."""
    differ = [_BITS[hashes[i, 0] ^ hashes[j, k]].sum(axis=1) for k in (0, 1)]
    fewest: np.ndarray = np.minimum(*differ)
    return fewest

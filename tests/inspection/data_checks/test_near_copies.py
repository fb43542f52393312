import numpy as np
import pytest

from sktransfer.inspection.data_checks import near_copies as module
from sktransfer.inspection.data_checks.near_copies import near_copies
from tests.inspection.data_checks.helpers import some_hashes

N = 40


@pytest.fixture
def units():
    found = np.random.default_rng(0).normal(size=(N, 32)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def hashes():
    return [some_hashes(seed) for seed in range(N)]


def pairs(units, hashes):
    found = near_copies([[i] for i in range(len(units))], units, hashes).groups
    same = found[:, None] == found
    return list(zip(*np.nonzero(np.triu(same, 1)), strict=True))


def near(unit, cosine, seed=0):
    """A vector of length 1 with this cosine to another."""
    other = np.random.default_rng(seed).normal(size=unit.shape)
    other -= (other @ unit) * unit
    return cosine * unit + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)


def flipped(value, n):
    return value ^ (2**n - 1)


def test_other_pictures_are_no_copies(units, hashes):
    assert pairs(units, hashes) == []


@pytest.mark.parametrize(
    ("cosine", "bits", "is_copy"),
    [
        (0.95, 12, True),  # cropped: the features are sure
        (0.95, 13, False),
        (0.75, 2, True),  # recoloured: the hash is sure
        (0.75, 3, False),
        (0.3, 0, False),  # neither is enough by itself
        (1.0, 30, False),
    ],
)
def test_both_witnesses_must_agree(units, hashes, cosine, bits, is_copy):
    units[7] = near(units[3], cosine)
    hashes[7] = flipped(hashes[3][0], bits), hashes[7][1]
    assert pairs(units, hashes) == ([(3, 7)] if is_copy else [])


def test_mirrored_copies_are_found(units, hashes):
    units[7] = near(units[3], 0.9)
    hashes[7] = hashes[3][::-1]
    assert pairs(units, hashes) == [(3, 7)]


def test_the_distance_is_relative_to_the_set(units, hashes):
    """Features of some networks have a large part in common."""
    units[7], hashes[7] = near(units[3], 0.95), hashes[3]
    same = np.concatenate([units, np.full((N, 1), 10)], axis=1).astype(np.float32)
    same /= np.linalg.norm(same, axis=1, keepdims=True)
    assert (same @ same.T).min() > 0.9
    assert pairs(same, hashes) == [(3, 7)]


def test_blocks_find_the_same(units, hashes, monkeypatch):
    for i, j in ((0, 39), (5, 6), (6, 30)):
        units[j], hashes[j] = units[i], hashes[i]
    whole = pairs(units, hashes)
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert pairs(units, hashes) == whole == [(0, 39), (5, 6), (5, 30), (6, 30)]


def test_a_set_of_two_copies(units, hashes):
    assert pairs(units[[3, 3]], [hashes[3]] * 2) == [(0, 1)]
    assert pairs(units[:1], hashes[:1]) == []


def test_groups_of_all_positions(units, hashes):
    units[2], hashes[2] = units[0], hashes[0]
    found = near_copies([[0, 4], [1], [3]], units[:3], hashes[:3]).of_all(6)
    assert found[0] == found[4] == found[3]
    assert len(set(found.tolist())) == 4  # 2 and 5 were not compared

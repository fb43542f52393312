import numpy as np
import pytest

from sktransfer.inspection.data_checks.findings import NotMade
from sktransfer.inspection.data_checks.near_duplicates import find_near_duplicates
from tests.inspection.data_checks.helpers import make_material, some_hashes

N = 30
FEATURES = np.random.default_rng(0).normal(size=(N, 16))
CHANGED = FEATURES + np.random.default_rng(1).normal(0, 0.05, (N, 16))


def material(pairs, **more):
    """Pictures of which some are changed copies of others."""
    features, hashes = FEATURES.copy(), [some_hashes(i) for i in range(N)]
    for one, other in pairs:
        features[other], hashes[other] = CHANGED[one], hashes[one]
    return make_material(N, features=features, hashes=hashes, **more)


def test_each_group_is_a_finding():
    first, second = find_near_duplicates(material([(2, 5), (5, 9), (20, 21)]))
    assert (first.rows, second.rows) == ((2, 5, 9), (20, 21))
    assert first.kind == "near_duplicate"
    assert 0.95 < first.score < 1


def test_equal_pictures_are_left_to_their_own_check():
    digests = [bytes([min(i, 28)]) for i in range(N)]
    assert find_near_duplicates(material([(28, 29)], digest=digests)) == []
    # But they are named as copies of others.
    [found] = find_near_duplicates(material([(28, 29), (28, 3)], digest=digests))
    assert found.rows == (3, 28, 29)


def test_pictures_without_features_are_left_out():
    errors = [None] * 5 + ["damaged"] + [None] * (N - 6)
    assert find_near_duplicates(material([(2, 5)], error=errors)) == []


def test_features_are_needed():
    with pytest.raises(NotMade, match="no network"):
        find_near_duplicates(make_material(3))

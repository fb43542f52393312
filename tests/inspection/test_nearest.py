import numpy as np
import pytest

from sktransfer.inspection.nearest import nearest

RNG = np.random.default_rng(0)
AMONG = RNG.normal(size=(30, 5)).astype(np.float32)
WANTED = RNG.normal(size=(4, 5)).astype(np.float32)


@pytest.mark.parametrize("scale", [1, 1e-9, 1e6])
def test_cosines_do_not_depend_on_the_scale(scale):
    distances, rows = nearest(AMONG * np.float32(scale), WANTED * np.float32(scale), 3)
    lengths = np.linalg.norm(WANTED, axis=1)[:, None] * np.linalg.norm(AMONG, axis=1)
    cosine = WANTED @ AMONG.T / lengths
    np.testing.assert_array_equal(rows, np.argsort(-cosine, axis=1)[:, :3])
    largest = -np.sort(-cosine, axis=1)[:, :3]
    np.testing.assert_allclose(distances, 1 - largest, atol=1e-5)


def test_euclidean_distances():
    distances, rows = nearest(AMONG, WANTED, 1, "euclidean")
    all_distances = np.linalg.norm(WANTED[:, None] - AMONG, axis=2)
    np.testing.assert_array_equal(rows[:, 0], all_distances.argmin(axis=1))
    np.testing.assert_allclose(distances[:, 0], all_distances.min(axis=1), rtol=1e-5)


def test_zero_vectors_have_a_distance():
    distances, _ = nearest(np.zeros((2, 5), np.float32), WANTED[:1], 1)
    assert np.isfinite(distances).all()

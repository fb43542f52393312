import numpy as np
import pytest

from sktransfer.inspection.explanation.geometry import on_picture

SQUARE = np.add.outer(10 * np.arange(4), np.arange(4)).astype(np.float32)


def test_a_square_on_a_picture_of_its_own_size_is_itself():
    drawn = on_picture(SQUARE, (0, 0, 4, 4), (4, 4), (4, 4))
    np.testing.assert_allclose(drawn, SQUARE)
    assert drawn.dtype == np.float32


def test_a_cropped_square_leaves_the_rest_unseen():
    drawn = on_picture(SQUARE, (2, 1, 6, 5), (8, 6), (8, 6))
    np.testing.assert_allclose(drawn[1:5, 2:6], SQUARE)
    assert np.isnan(drawn).sum() == 8 * 6 - 16


def test_what_a_square_was_padded_with_is_left_out():
    drawn = on_picture(SQUARE, (0, -1, 4, 3), (4, 2), (4, 2))
    np.testing.assert_allclose(drawn, SQUARE[1:3])


def test_values_between_are_interpolated():
    drawn = on_picture(SQUARE, (0, 0, 8, 8), (8, 8), (8, 8))
    np.testing.assert_allclose(drawn[0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    np.testing.assert_allclose(drawn[:, 0], 10 * drawn[0])


@pytest.mark.parametrize("shown", [(4, 2), (1, 1), (3, 5)])
def test_the_result_may_have_another_size(shown):
    drawn = on_picture(SQUARE, (0, 0, 8, 4), (8, 4), shown)
    assert drawn.shape == shown[::-1]
    assert not np.isnan(drawn).any()
    assert SQUARE.min() <= drawn.min() <= drawn.max() <= SQUARE.max()


def test_one_value_is_everywhere():
    drawn = on_picture(np.ones((1, 1), np.float32), (0, 0, 5, 5), (5, 5), (5, 5))
    np.testing.assert_array_equal(drawn, 1)

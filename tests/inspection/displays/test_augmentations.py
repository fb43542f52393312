import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from torchvision.transforms import v2

from sktransfer import plot_augmentations
from tests.conftest import make_pictures


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def shown(figure):
    return [ax.images[0].get_array() for ax in figure.axes]


def test_each_picture_has_a_row_that_begins_with_itself():
    X, _ = make_pictures(2)
    figure = plot_augmentations(X, "light", n_views=3, image_size=32, random_state=0)
    pictures = shown(figure)
    assert [np.asarray(p).shape for p in pictures] == [(32, 32, 3)] * 8
    differ = [not np.array_equal(pictures[0], view) for view in pictures[1:4]]
    assert any(differ)
    assert not np.array_equal(pictures[0], pictures[4])


def test_random_state_repeats_the_views():
    X, _ = make_pictures(1)
    first, second, other = (
        shown(plot_augmentations(X, "standard", image_size=32, random_state=seed))
        for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_transform_of_ones_own():
    X, _ = make_pictures(1)
    plain, flipped = shown(
        plot_augmentations(X, v2.RandomVerticalFlip(p=1), n_views=1, image_size=32, random_state=0)
    )
    assert np.array_equal(plain[::-1], flipped)


def test_it_draws_into_a_given_figure():
    figure = plt.figure()
    X, _ = make_pictures(1)
    assert plot_augmentations(X, "keras", n_views=2, image_size=32, figure=figure) is figure


def test_an_unknown_name_is_told():
    X, _ = make_pictures(1)
    with pytest.raises(ValueError, match=r"augment must be one of .*'trivial'.*got 'heavy'"):
        plot_augmentations(X, "heavy")

import numpy as np

from sktransfer.estimators.seeds import draw_seeds


def test_an_int_always_gives_the_same_seeds():
    assert draw_seeds(0) == draw_seeds(0) != draw_seeds(1)


def test_what_is_drawn_has_seeds_of_its_own():
    assert len(set(draw_seeds(0))) == len(draw_seeds(0))


def test_a_random_state_is_drawn_from():
    state = np.random.RandomState(0)
    assert draw_seeds(state) != draw_seeds(state)


def test_seeds_are_plain_numbers():
    assert {type(seed) for seed in draw_seeds(0)} == {int}


def test_a_continued_fit_keeps_weights_and_split_and_draws_the_rest_anew():
    earlier = draw_seeds(0)
    after_three, after_four = (draw_seeds(1).after(earlier, n) for n in (3, 4))
    assert (after_three.weights, after_three.split) == (earlier.weights, earlier.split)
    assert len({earlier.training, after_three.training, after_four.training}) == 3
    assert len({earlier.views, after_three.views, after_four.views}) == 3
    assert draw_seeds(1).after(earlier, 3) == after_three

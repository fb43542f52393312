import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from sktransfer.training.calibration import as_evidence, best_temperature
from sktransfer.training.task import OneLabel, SeveralLabels

SOFTMAX = OneLabel()
ONE_OF = OneLabel(one_vs_rest=True)
SEVERAL = SeveralLabels()
LINKS = pytest.mark.parametrize("link", [SOFTMAX, ONE_OF, SEVERAL], ids=["softmax", "one", "many"])


def scores(*shape, scale=3.0, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(dtype)


def test_softmax_by_hand():
    assert_allclose(SOFTMAX.probabilities(np.log([[1.0, 3.0]])), [[0.25, 0.75]])


def test_one_against_the_rest_by_hand():
    # expit of the scores, 1/5 and 3/5, in proportion.
    assert_allclose(ONE_OF.probabilities(np.log([[1 / 4, 3 / 2]])), [[0.25, 0.75]])


def test_several_labels_by_hand():
    assert_allclose(SEVERAL.probabilities(np.log([[1 / 4, 3 / 2]])), [[0.2, 0.6]])


@LINKS
@pytest.mark.parametrize("shape", [(7, 2), (7, 5), (7, 3, 5)])
def test_shape_and_dtype_stay(link, shape):
    given = scores(*shape)
    for values in (
        link.probabilities(given),
        link.log_probabilities(given),
        link.scores(link.probabilities(given)),
    ):
        assert values.shape == shape
        assert values.dtype == np.float32


@pytest.mark.parametrize("link", [SOFTMAX, ONE_OF])
@pytest.mark.parametrize("scale", [0.1, 3, 50])
def test_rows_sum_to_1(link, scale):
    assert_allclose(link.probabilities(scores(50, 4, scale=scale)).sum(-1), 1, rtol=1e-5)


def test_rows_of_several_labels_are_free():
    given = scores(50, 4)
    assert_allclose(SEVERAL.probabilities(given), expit(given), rtol=1e-6)


@LINKS
def test_logarithms_are_those_of_the_probabilities(link):
    given = scores(50, 4, dtype=np.float64)
    assert_allclose(np.exp(link.log_probabilities(given)), link.probabilities(given), rtol=1e-9)


@LINKS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_probabilities_have_these_probabilities(link, dtype):
    probabilities = link.probabilities(scores(50, 4, dtype=dtype))
    again = link.probabilities(link.scores(probabilities))
    assert_allclose(again, probabilities, rtol=1e-4 if dtype == np.float32 else 1e-9)


@LINKS
def test_probabilities_0_and_1_have_finite_scores_in_their_order(link):
    given = link.scores(np.array([[0, 1e-30, 0.5, 1]], np.float32))
    assert np.isfinite(given).all()
    assert (np.diff(given[0]) > 0).all()


@LINKS
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_extreme_scores_stay_finite(link, size):
    given = np.array([[size, -size, 0], [-size, -size, -size], [size, size, size]], np.float32)
    probabilities = link.probabilities(given)
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    assert np.isfinite(link.log_probabilities(given)).all()
    if not link.multilabel:
        assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
        assert_allclose(probabilities[1:], 1 / 3, rtol=1e-6)
    for row, code in enumerate([0, 0, 2]):
        one = given[row : row + 1].astype(float)
        assert np.isfinite(link.log_loss(one, np.array([code]), np.ones(1)))


@LINKS
def test_the_largest_score_is_the_largest_probability(link):
    given = scores(200, 6)
    assert_array_equal(link.probabilities(given).argmax(1), given.argmax(1))
    assert_array_equal(link.log_probabilities(given).argmax(1), given.argmax(1))


@pytest.mark.parametrize("link", [SOFTMAX, ONE_OF])
def test_log_loss_is_scikit_learns(link):
    given, y, weights = scores(60, 3, dtype=np.float64), np.arange(60) % 3, np.linspace(0, 2, 60)
    assert_allclose(
        link.log_loss(given, y, weights),
        log_loss(y, link.probabilities(given), sample_weight=weights),
    )


def test_log_loss_of_an_indicator_is_the_mean_over_its_columns():
    given = scores(60, 3, dtype=np.float64)
    y = (scores(60, 3, seed=1) > 0).astype(np.float32)
    columns = [log_loss(y[:, i], expit(given[:, i])) for i in range(3)]
    assert_allclose(SEVERAL.log_loss(given, y, np.ones(60)), np.mean(columns), rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.25, 1, 3, 10])
def test_temperature_is_found_again(temperature):
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (6000, 4))
    y = (softmax(honest, axis=1).cumsum(1) > rng.random((6000, 1))).argmax(1)
    found = best_temperature(SOFTMAX, (honest * temperature).astype(np.float32), y, np.ones(6000))
    assert_allclose(found, temperature, rtol=0.06)


@pytest.mark.parametrize("temperature", [0.25, 3])
def test_temperature_of_several_labels_is_found_again(temperature):
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (4000, 3))
    y = (rng.random(honest.shape) < expit(honest)).astype(np.float32)
    found = best_temperature(SEVERAL, honest * temperature, y, np.ones(4000))
    assert_allclose(found, temperature, rtol=0.06)


@LINKS
def test_a_row_counts_as_often_as_its_weight_says(link):
    given, y = scores(30, 3, dtype=np.float64), np.random.default_rng(1).integers(0, 3, 30)
    y = np.eye(3)[y] if link.multilabel else y
    times = np.arange(30) % 3
    repeated = best_temperature(link, given.repeat(times, 0), y.repeat(times, 0), np.ones(30))
    assert_allclose(best_temperature(link, given, y, times.astype(float)), repeated)
    assert abs(best_temperature(link, given, y, np.ones(30)) / repeated - 1) > 0.01


@LINKS
def test_temperature_never_raises_the_loss(link):
    for seed in range(5):
        given = scores(30, 3, seed=seed, dtype=np.float64)
        y = np.random.default_rng(seed).integers(0, 3, 30)
        y = np.eye(3)[y] if link.multilabel else y
        weights = np.ones(30)
        temperature = best_temperature(link, given, y, weights)
        after, before = (link.log_loss(each, y, weights) for each in (given / temperature, given))
        assert after <= before + 1e-9


@LINKS
@pytest.mark.parametrize(("n", "size"), [(1, 0.1), (12, 2), (40, 5), (120, 10), (120, 100)])
def test_rows_that_are_all_right_make_nobody_bold(link, n, size):
    y = np.arange(n) % 3
    given = size * (2 * np.eye(3, dtype=np.float32)[y] - 1)
    y = np.eye(3)[y] if link.multilabel else y
    assert 0.85 < best_temperature(link, given, y, np.ones(n)) <= 1


def test_few_rows_move_it_less_than_many():
    rng = np.random.default_rng(0)
    given = rng.normal(0, 2, (2000, 4))
    y = (softmax(given / 4, axis=1).cumsum(1) > rng.random((2000, 1))).argmax(1)
    found = [best_temperature(SOFTMAX, given[:n], y[:n], np.ones(n)) for n in (5, 40, 2000)]
    assert 1 <= found[0] < found[1] < found[2] * 1.2
    assert_allclose(found[2], 4, rtol=0.1)


def test_without_a_prior_it_is_the_one_of_the_least_loss():
    given, y = scores(60, 3, dtype=np.float64), np.random.default_rng(1).integers(0, 3, 60)
    given[np.arange(60), y] += 1
    found = best_temperature(SOFTMAX, given, y, np.ones(60), scale=np.inf)
    losses = [SOFTMAX.log_loss(given / (found * by), y, np.ones(60)) for by in (1, 0.99, 1.01)]
    assert losses[0] == min(losses)


@LINKS
def test_it_is_1_where_nothing_speaks_for_another(link):
    y = np.arange(12) % 3
    y = np.eye(3)[y] if link.multilabel else y
    assert best_temperature(link, np.zeros((12, 3)), y, np.ones(12)) == 1


def test_evidence_is_of_as_many_rows_as_weigh_the_same():
    assert_allclose(as_evidence(np.full(7, 3.0)), 1)
    assert_allclose(as_evidence(np.array([5.0, 0.0, 5.0])), [1, 0, 1])
    assert_allclose(as_evidence(np.array([1e38, 1.0], np.float32)).sum(), 1)
    one, others = as_evidence(np.array([1000.0] + 99 * [1.0]))[:2]
    assert 1 < one + 99 * others < 1.3

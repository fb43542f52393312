import numpy as np
import pytest
import torch

from sktransfer.activations.views import FixedViews
from sktransfer.training.batches import Rows, all_batches
from sktransfer.training.head import Dropout, NormalisedLinear, build_head, mean_and_length


def of(features, weights=None, batch_size=7):
    """Mean and length of rows that come in batches."""
    return of_rows(Rows(features, weights=weights), batch_size)


def of_rows(rows, batch_size=7):
    return mean_and_length(lambda: all_batches(rows, batch_size))


def test_mean_and_length_by_hand():
    X = torch.tensor([[1.0, 0], [5, 0], [3, 3], [3, -3]])
    mean, length = of(X, torch.tensor([1.0, 1, 2, 0]))
    assert mean.tolist() == [3, 1.5]
    # Squared lengths: 4 + 2.25 twice, and 0 + 2.25 that counts double.
    assert length.item() == pytest.approx(((6.25 + 6.25 + 2 * 2.25) / 4) ** 0.5)
    assert mean.dtype == length.dtype == torch.float64


@pytest.mark.parametrize("batch_size", [2, 7, 49, 1000])
def test_batches_change_nothing_in_mean_and_length(batch_size):
    X = 100 + torch.randn(50, 2, 3)
    mean, length = of(X, batch_size=batch_size)
    rows = X.flatten(1).double()
    torch.testing.assert_close(mean, rows.mean(0))
    torch.testing.assert_close(length, (rows - rows.mean(0)).square().sum(1).mean().sqrt())


def test_length_does_not_drown_in_the_mean():
    X = 1e4 + torch.tensor([[-0.5], [0.5]]).repeat(500, 1)
    assert of(X)[1].item() == pytest.approx(0.5)


def test_mean_and_length_of_rows_by_index():
    X = torch.randn(20, 4)
    which = np.array([3, 17, 5])
    views = FixedViews([X])
    rows = Rows.of(views, np.zeros(20, dtype=np.int64), np.ones(20), which=which)
    mean, length = of_rows(rows, 2)
    expected = of(X[which])
    torch.testing.assert_close(mean, expected[0])
    torch.testing.assert_close(length, expected[1])


def test_rows_have_length_1_on_average():
    features = torch.randn(50, 4, dtype=torch.float64) * torch.tensor([1, 10, 0.1, 3.0])
    linear = NormalisedLinear(*of(features), 2)
    rows = (features - linear.mean) / linear.length
    torch.testing.assert_close((rows**2).sum(1).mean(), torch.tensor(1.0, dtype=torch.float64))


def test_weightless_rows_do_not_count():
    features = torch.randn(10, 4, dtype=torch.float64)
    weights = torch.ones(10)
    weights[6:] = 0
    some = NormalisedLinear(*of(features, weights), 2)
    fewer = NormalisedLinear(*of(features[:6]), 2)
    torch.testing.assert_close(some.mean, fewer.mean)
    torch.testing.assert_close(some.length, fewer.length)


def test_equal_rows_divide_by_1():
    for value in (1.0, 0.1, 1e6):
        linear = NormalisedLinear(*of(torch.full((5, 3), value)), 2)
        assert linear.length == 1


def test_scores_by_hand():
    linear = NormalisedLinear(torch.tensor([1.0, 2.0]), torch.tensor(4.0), 2)
    assert linear(torch.randn(3, 2)).tolist() == [[0, 0]] * 3
    with torch.no_grad():
        linear.linear.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
        linear.linear.bias.copy_(torch.tensor([0.0, 10.0]))
    assert linear(torch.tensor([[5.0, 4.0]])).tolist() == [[1.0, 12.0]]


def test_scores_are_computed_in_the_precision_of_the_mean():
    mean, length = of(torch.randn(5, 3))
    assert NormalisedLinear(mean, length, 2)(torch.randn(1, 3)).dtype == torch.float64
    assert NormalisedLinear(mean, length, 2).float()(torch.randn(1, 3)).dtype == torch.float32
    maps = torch.randint(0, 256, (1, 3, 1, 1), dtype=torch.uint8)
    assert NormalisedLinear(mean, length, 2)(maps).shape == (1, 2)


def test_mean_and_length_of_several_views():
    first, second = torch.randn(6, 4), 3 + torch.randn(6, 4)
    mean, length = of_rows(Rows(FixedViews([first, second])))
    expected = of(torch.cat([first, second]))
    torch.testing.assert_close(mean, expected[0])
    torch.testing.assert_close(length, expected[1])


def test_a_new_head_draws_nothing_from_the_global_generator():
    state = torch.random.get_rng_state()
    linear = NormalisedLinear(*of(torch.randn(5, 3, generator=torch.Generator())), 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not linear.linear.weight.any()
    assert not linear.linear.bias.any()


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_head_begins_like_another_one(normalised, dtype):
    X = torch.randn(9, 4)
    other = torch.nn.Linear(4, 2)
    if normalised:
        other = NormalisedLinear(*of(5 + 3 * X), 2)
        torch.nn.init.normal_(other.linear.weight)
        torch.nn.init.normal_(other.linear.bias)
    head = NormalisedLinear(*of(X), 2)
    head.begin_like(other.to(dtype))
    given = X if normalised else X.to(dtype)
    torch.testing.assert_close(head(X).detach(), other(given).detach().double(), rtol=0, atol=1e-5)
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_sampled_dropout_has_one_mask_for_all_rows():
    dropout = Dropout(0.5).eval()
    x = torch.randn(6, 200)
    assert torch.equal(dropout(x), x)
    dropout.sampled = True
    factors = dropout(x) / x
    assert torch.equal(factors, factors[:1].expand(6, 200))
    assert set(factors.flatten().round(decimals=4).tolist()) == {0.0, 2.0}
    assert not torch.equal(dropout(x), dropout(x))


def test_dropout_in_training_has_a_mask_a_row():
    factors = Dropout(0.5)(torch.ones(6, 200))
    assert not torch.equal(factors, factors[:1].expand(6, 200))


def test_layers():
    kinds = [type(layer).__name__ for layer in build_head(8, (4, 3), 0.5, 2)]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in build_head(8, (), 0.5, 2)] == ["Dropout", "Linear"]
    assert [type(layer).__name__ for layer in build_head(8, (), 0.0, 2)] == ["Linear"]


@pytest.mark.parametrize("scaled", [NormalisedLinear.per_row, NormalisedLinear.per_feature])
def test_the_scale_of_two_pieces_is_that_of_their_rows_together(scaled):
    X = 5 + torch.randn(30, 4).double() * torch.tensor([1.0, 2, 3, 4])
    X[:10] += 3
    first = scaled(NormalisedLinear(*of(X[:10]), 3))
    first.n_rows = 10
    for found, expected in zip(first.scale_with(*of(X[10:]), 20), of(X), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_scale_changes_no_score_and_is_given_once():
    X = 5 + torch.randn(20, 9)
    head = NormalisedLinear(*(value.float() for value in of(X)), 3)
    torch.nn.init.normal_(head.linear.weight)
    expected, weight = head(X).detach(), head.linear.weight.detach().clone()
    for scaled, times in [(head.per_feature, 3), (head.per_feature, 3), (head.per_row, 1)]:
        assert scaled() is head
        torch.testing.assert_close(head.linear.weight * times, weight)
        torch.testing.assert_close(head(X), expected, rtol=1e-3, atol=1e-4)

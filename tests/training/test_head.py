import torch

from sktransfer.training.head import NormalisedLinear, build_head


def test_rows_have_length_1_on_average():
    features = torch.randn(50, 4, dtype=torch.float64) * torch.tensor([1, 10, 0.1, 3.0])
    linear = NormalisedLinear(features, torch.ones(50), 2)
    rows = (features - linear.mean) / linear.length
    torch.testing.assert_close((rows**2).sum(1).mean(), torch.tensor(1.0, dtype=torch.float64))


def test_weightless_rows_do_not_count():
    features = torch.randn(10, 4, dtype=torch.float64)
    weights = torch.ones(10)
    weights[6:] = 0
    some = NormalisedLinear(features, weights, 2)
    fewer = NormalisedLinear(features[:6], weights[:6], 2)
    torch.testing.assert_close(some.mean, fewer.mean)
    torch.testing.assert_close(some.length, fewer.length)


def test_equal_rows_divide_by_1():
    linear = NormalisedLinear(torch.ones(5, 3, dtype=torch.float64), torch.ones(5), 2)
    assert linear.length == 1


def test_layers():
    kinds = [type(layer).__name__ for layer in build_head(8, (4, 3), 0.5, 2)]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in build_head(8, (), 0.5, 2)] == ["Dropout", "Linear"]
    assert [type(layer).__name__ for layer in build_head(8, (), 0.0, 2)] == ["Linear"]

import numpy as np
import pytest
import torch

from sktransfer.training.batches import RowBatches, Rows


def rows(n):
    return Rows(torch.arange(n).float()[:, None], torch.arange(n))


def test_every_row_once_in_order():
    batches = [X[:, 0].tolist() for X, _ in RowBatches(rows(7), 3)]
    assert batches == [[0, 1, 2], [3, 4, 5, 6]]  # the last one joined


def test_shuffled_anew_on_each_pass_and_seeded():
    def two_passes():
        batches = RowBatches(rows(20), 6, torch.Generator().manual_seed(0))
        return [[int(i) for X, _ in batches for i in X[:, 0]] for _ in range(2)]

    first, second = two_passes()
    assert sorted(first) == list(range(20))
    assert first != second
    assert [first, second] == two_passes()


def test_targets_and_weights_stay_with_their_rows():
    data = Rows.of(torch.arange(5.0), np.arange(5), np.array([1.0, 2, 3, 4, 5]), np.array([1, 3]))
    X, (y, weights) = next(iter(RowBatches(data, 2)))
    assert X.tolist() == y.tolist() == [1, 3]
    assert torch.allclose(weights, torch.tensor([2 / 3, 4 / 3]))


def test_weights_of_the_rows_that_are_left_have_a_mean_of_1():
    weights = np.array([1.0, 0, 3, 5])
    data = Rows.of(torch.zeros(4, 1), np.zeros(4, np.int64), weights, np.array([0, 1, 3]))
    assert data.weights.tolist() == [0.5, 0.0, 2.5]
    assert data.weights.dtype == torch.float32


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([2, 0]), [1], 2])
def test_rows_by_index_are_those_of_a_copy(index):
    X, codes, which = torch.randn(6, 2), np.arange(6), np.array([5, 1, 4])
    data = Rows.of(X, codes, np.ones(6), which)
    copied = Rows(X[which], torch.from_numpy(codes[which]))
    assert len(data) == 3
    rows, (y, weights) = data[index]
    expected, (expected_y, expected_weights) = copied[index]
    assert torch.equal(rows, expected)
    assert torch.equal(y, expected_y)
    assert torch.equal(weights, expected_weights)


def test_activations_are_not_copied():
    X = torch.randn(6, 2)
    everything = Rows.of(X, np.arange(6), np.ones(6), np.arange(6))
    some = Rows.of(X, np.arange(6), np.ones(6), np.array([1, 3]))
    assert everything[:][0].data_ptr() == X.data_ptr()
    assert everything._X is some._X is X


def test_other_activations_keep_targets_and_weights():
    data = Rows.of(torch.randn(4, 2), np.arange(4), np.arange(1.0, 5), np.array([1, 3]))
    features = torch.tensor([[10.0], [30.0]])
    X, (y, weights) = data.with_X(features)[:]
    assert torch.equal(X, features)
    assert y.tolist() == [1, 3]
    assert torch.equal(weights, data.weights)


def test_without_targets_all_are_zeros_of_weight_1():
    X, (y, weights) = Rows(torch.randn(2, 3))[:]
    assert X.shape == (2, 3)
    assert y.tolist() == [0, 0]
    assert weights.tolist() == [1, 1]


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_only_cuda_gets_a_copy(device):
    data = rows(3)
    assert data.on(device) is data


@pytest.mark.parametrize(("free", "moves"), [(79, False), (80, True)])
def test_rows_move_if_they_take_at_most_half_of_the_free_memory(monkeypatch, free, moves):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1000))
    asked = []
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: asked.append(device) or x)
    data = Rows.of(torch.zeros(5, 2), np.zeros(5, np.int64), np.ones(5), np.array([1, 3]))
    assert (data.on("cuda:1") is not data) == moves
    assert asked == ["cuda:1"] * (4 if moves else 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_rows_on_a_device_are_the_same_in_the_same_order():
    data = Rows.of(torch.randn(9, 2), np.arange(9), np.ones(9), np.array([1, 3, 4, 8, 7]))
    moved = data.on("cuda:0")
    batches = zip(
        *(RowBatches(of, 2, torch.Generator().manual_seed(0)) for of in (data, moved)), strict=True
    )
    for (X, (y, weights)), (moved_X, (moved_y, moved_weights)) in batches:
        assert moved_X.device.type == moved_y.device.type == "cuda"
        assert torch.equal(X, moved_X.cpu())
        assert torch.equal(y, moved_y.cpu())
        assert torch.equal(weights, moved_weights.cpu())


def test_batches_counts_itself():
    assert len(RowBatches(rows(7), 3)) == 2
    assert len(RowBatches(rows(6), 3)) == 2
    assert len(RowBatches(rows(1), 3)) == 1

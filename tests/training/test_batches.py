import numpy as np
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


def test_batches_counts_itself():
    assert len(RowBatches(rows(7), 3)) == 2
    assert len(RowBatches(rows(6), 3)) == 2
    assert len(RowBatches(rows(1), 3)) == 1

import numpy as np
import pytest
import torch

from sktransfer.activations.views import FixedViews, FreshViews
from sktransfer.exceptions import ParameterError
from sktransfer.training.batches import RowBatches, Rows, all_batches
from tests.training.helpers import flat


def rows(n):
    return Rows(torch.arange(n).float()[:, None], torch.arange(n))


def shuffled(generator):
    return torch.randperm(20, generator=generator)


def of(X, y, weights, which=None, teacher=None):
    return Rows.of(FixedViews([X]), y, weights, teacher, which)


def numbers(batches):
    return [X[:, 0].tolist() for X, _ in batches]


def same(targets, others):
    return all(
        torch.equal(own, other) if own is not None else other is None
        for own, other in zip(targets, others, strict=True)
    )


def test_every_row_once_in_order():
    assert numbers(RowBatches(rows(7), 3)) == [[0, 1, 2], [3, 4, 5, 6]]  # the last one joined


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 8])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 100])
def test_no_row_is_lost_and_none_left_alone(n, batch_size):
    batches = numbers(RowBatches(rows(n), batch_size))
    assert flat(batches) == list(range(n))
    assert len(RowBatches(rows(n), batch_size)) == len(batches)
    assert len(batches[-1]) > 1 or n == 1 or batch_size == 1
    assert max(len(batch) for batch in batches) <= batch_size + 1


def test_rows_come_as_they_are_drawn():
    generator = torch.Generator().manual_seed(0)
    first = flat(numbers(RowBatches(rows(20), 6, shuffled, generator)))
    second = flat(numbers(RowBatches(rows(20), 6, shuffled, generator)))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first == shuffled(torch.Generator().manual_seed(0)).tolist()


def test_a_draw_may_repeat_rows_and_leave_some_out():
    drawn = [3, 3, 0, 3, 1]
    batches = RowBatches(rows(4), 2, lambda _: torch.tensor(drawn))
    assert len(batches) == 2
    assert numbers(batches) == [[3, 3], [0, 3, 1]]


def test_targets_stay_with_their_rows():
    X, y, weights = torch.arange(5.0)[:, None], np.arange(5), np.array([1.0, 2, 3, 4, 5])
    data = of(X, y, weights, np.array([1, 3]), teacher=np.arange(10.0).reshape(5, 2))
    for batches in (RowBatches(data, 2), RowBatches(data, 2, lambda _: torch.tensor([0, 1]))):
        ((X, targets),) = batches
        assert X[:, 0].tolist() == targets.y.tolist() == [1, 3]
        assert torch.allclose(targets.weights, torch.tensor([2 / 3, 4 / 3]))
        assert targets.teacher.tolist() == [[2, 3], [6, 7]]
        assert targets.teacher.dtype == torch.float32


def test_rows_of_weight_0_are_absent_and_the_others_have_a_mean_of_1():
    X, weights = torch.arange(4.0)[:, None], np.array([1.0, 0, 3, 5])
    data = of(X, np.arange(4), weights, np.array([0, 1, 3]), teacher=np.eye(4))
    taken, targets = data[:]
    assert taken.flatten().tolist() == targets.y.tolist() == [0, 3]
    assert targets.teacher.argmax(1).tolist() == [0, 3]
    assert targets.weights.tolist() == pytest.approx([1 / 3, 5 / 3])
    assert targets.weights.dtype == torch.float32
    assert of(X, np.arange(4), weights)[:][1].y.tolist() == [0, 2, 3]
    with pytest.raises(ParameterError, match="all have a weight of 0"):
        of(X, np.arange(4), weights, np.array([1]))


def test_rows_may_be_weighed_anew():
    data = of(torch.randn(4, 2), np.arange(4), np.arange(1.0, 5), np.array([1, 3]), np.eye(4))
    again = data.with_weights(torch.tensor([5.0, 7.0]))
    assert again.targets.weights.tolist() == [5, 7]
    assert torch.equal(again[:][0], data[:][0])
    assert again.targets.y is data.targets.y
    assert again.targets.teacher is data.targets.teacher


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([2, 0]), [1], 2])
def test_rows_by_index_are_those_of_a_copy(index):
    X, codes, which = torch.randn(6, 2), np.arange(6), np.array([5, 1, 4])
    data = of(X, codes, np.ones(6), which)
    copied = Rows(X[which], torch.from_numpy(codes[which]))
    assert len(data) == 3
    taken, targets = data[index]
    expected, expected_targets = copied[index]
    assert torch.equal(taken, expected)
    assert same(targets, expected_targets)


def test_activations_are_not_copied():
    X = torch.randn(6, 2)
    everything = of(X, np.arange(6), np.ones(6), np.arange(6))
    some = of(X, np.arange(6), np.ones(6), np.array([1, 3]))
    assert everything[:][0].data_ptr() == X.data_ptr()
    assert everything.views(0) is some.views(0) is X


def test_other_activations_keep_targets():
    data = of(torch.randn(4, 2), np.arange(4), np.arange(1.0, 5), np.array([1, 3]), np.eye(4))
    features = torch.tensor([[10.0], [30.0]])
    X, targets = data.with_X(features)[:]
    assert torch.equal(X, features)
    assert same(targets, data.targets)


def test_without_targets_all_are_zeros_of_weight_1():
    X, (y, weights, *others) = Rows(torch.randn(2, 3))[:]
    assert X.shape == (2, 3)
    assert y.tolist() == [0, 0]
    assert weights.tolist() == [1, 1]
    assert others == [None, None]


def test_an_indicator_is_a_target_too():
    y = np.array([[1.0, 0], [1, 1], [0, 0]], np.float32)
    data = of(torch.zeros(3, 1), y, np.ones(3), np.array([1, 2]))
    assert len(data) == 2
    assert data[:][1].y.tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("which", [None, np.array([5, 1, 4])])
def test_drawn_rows_are_those_of_the_order(which):
    X, y, weights = torch.randn(6, 2), np.arange(6), np.arange(1.0, 7)
    data = of(X, y, weights, which, teacher=np.eye(6))
    order = torch.tensor([2, 0, 2])
    drawn, targets = data.drawn(order)[:]
    expected, expected_targets = data[order]
    assert torch.equal(drawn, expected)
    assert same(targets, expected_targets)
    assert len(data.drawn(order)) == 3


def test_an_epoch_shows_its_view():
    views = FixedViews([torch.zeros(4, 1), torch.ones(4, 1)])
    data = Rows(views, which=torch.tensor([0, 2]))
    assert [numbers(RowBatches(data, 2, epoch=epoch)) for epoch in range(3)] == [
        [[0, 0]],
        [[1, 1]],
        [[0, 0]],
    ]


def test_all_batches_hold_every_view_of_every_row_in_order():
    views = FixedViews([torch.arange(5.0)[:, None], 10 + torch.arange(5.0)[:, None]])
    data = Rows(views, torch.arange(5), which=torch.tensor([1, 3, 4]))
    batches = list(all_batches(Rows(views, torch.arange(3), which=data.which), 2))
    assert numbers(batches) == [[1, 3, 4], [11, 13, 14]]
    assert [targets.y.tolist() for _, targets in batches] == [[0, 1, 2]] * 2


def test_fixed_rows_keep_what_is_known_of_the_views():
    asked = []
    fresh = FreshViews(lambda view: asked.append(view) or torch.full((3, 1), view + 0.0), 3, bytes)
    data = Rows(fresh, torch.arange(2), which=torch.tensor([0, 2]))
    fixed = data.fixed()
    assert [numbers(RowBatches(fixed, 2, epoch=epoch)) for epoch in (0, 5)] == [[[0, 0]]] * 2
    assert asked == [0]
    assert same(fixed.targets, data.targets)

    views = FixedViews([torch.zeros(3, 1), torch.ones(3, 1)])
    assert Rows(views).fixed().views.n_known == 2


def test_the_digest_knows_all_that_is_trained_on():
    X, y, weights = torch.randn(4, 2), torch.arange(4), torch.ones(4)
    different = [
        Rows(X, y, weights),
        Rows(X + 1, y, weights),
        Rows(X, y.flip(0), weights),
        Rows(X, y, 2 * weights),
        Rows(X, y, weights, torch.eye(4)),
        Rows(X, y, weights, torch.eye(4).flip(0)),
        Rows(X, y, weights, which=torch.arange(4)),
        Rows(X, y, weights, which=torch.arange(4).flip(0)),
    ]
    assert len({data.digest() for data in different}) == len(different)
    assert Rows(X.clone(), y.clone()).digest() == Rows(X, y, weights).digest()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_only_cuda_gets_a_copy(device):
    data = rows(3)
    assert data.on(device) is data


def test_views_that_are_not_known_stay_where_they_are():
    data = Rows(FreshViews(lambda _: torch.zeros(3, 1), 3, bytes))
    assert data.on("cuda:0") is data


@pytest.mark.parametrize(("free", "moves"), [(79, False), (80, True)])
def test_rows_move_if_they_take_at_most_half_of_the_free_memory(monkeypatch, free, moves):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1000))
    asked = []
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: asked.append(device) or x)
    data = of(torch.zeros(5, 2), np.zeros(5, np.int64), np.ones(5), np.array([1, 3]))
    assert (data.on("cuda:1") is not data) == moves
    assert asked == ["cuda:1"] * (4 if moves else 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_rows_on_a_device_are_the_same_in_the_same_order():
    data = of(torch.randn(9, 2), np.arange(9), np.ones(9), np.array([1, 3, 4, 8, 7]), np.eye(9))
    moved = data.on("cuda:0")

    def draw(generator):
        return torch.randperm(5, generator=generator)

    batches = (
        RowBatches(each, 2, draw, torch.Generator().manual_seed(0)) for each in (data, moved)
    )
    for (X, targets), (moved_X, moved_targets) in zip(*batches, strict=True):
        assert moved_X.device.type == moved_targets.y.device.type == "cuda"
        assert torch.equal(X, moved_X.cpu())
        assert same(targets, moved_targets.to("cpu"))

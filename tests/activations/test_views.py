import pytest
import torch

from sktransfer.activations.views import FixedViews, FreshViews


def fresh(asked, n=4):
    def compute(view):
        asked.append(view)
        return torch.full((n, 2), float(view))

    return FreshViews(compute, n, lambda: b"identity")


@pytest.mark.parametrize("n_views", [1, 3])
def test_fixed_views_take_turns(n_views):
    tensors = [torch.randn(4, 2) for _ in range(n_views)]
    views = FixedViews(tensors)
    assert len(views) == 4
    assert views.n_known == n_views
    for epoch in range(2 * n_views + 1):
        assert views(epoch) is tensors[epoch % n_views]
    assert [id(tensor) for tensor in views.known()] == [id(tensor) for tensor in tensors]


def test_fixed_views_on_a_device_are_the_same():
    tensors = [torch.randn(4, 2), torch.randn(4, 2)]
    moved = FixedViews(tensors).to("cpu")
    assert all(torch.equal(own, given) for own, given in zip(moved.tensors, tensors, strict=True))


def test_the_digest_of_fixed_views_knows_every_value_and_their_order():
    first, second = torch.randn(4, 2), torch.randn(4, 2)
    changed = second.clone()
    changed[3, 1] += 1e-6
    sets = [[first], [first, second], [second, first], [first, changed]]
    assert len({FixedViews(tensors).digest() for tensors in sets}) == 4
    assert FixedViews([first.clone()]).digest() == FixedViews([first]).digest()


def test_the_digest_of_fixed_views_does_not_depend_on_strides():
    tensor = torch.randn(3, 4)
    assert FixedViews([tensor.T]).digest() == FixedViews([tensor.T.contiguous()]).digest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float16])
def test_fixed_views_of_all_that_networks_give_have_a_digest(dtype):
    assert len(FixedViews([torch.ones(2, 3, dtype=dtype)]).digest()) == 32


def test_fresh_views_are_computed_once_per_epoch_and_one_is_kept():
    asked = []
    views = fresh(asked)
    assert len(views) == 4
    assert [views(epoch)[0, 0].item() for epoch in (0, 0, 1, 1, 0)] == [0, 0, 1, 1, 0]
    assert asked == [0, 1, 0]


def test_the_earlier_fresh_view_is_let_go_before_the_next_is_computed():
    held = []

    def compute(_):
        held.append(views._latest)
        return torch.zeros(1)

    views = FreshViews(compute, 1, bytes)
    views(0)
    views(1)
    assert held == [None, None]


def test_only_the_first_of_fresh_views_is_known():
    asked = []
    views = fresh(asked)
    (known,) = views.known()
    assert views.n_known == 1
    assert known is views(0)
    assert asked == [0]


def test_the_digest_of_fresh_views_computes_none():
    asked = []
    assert fresh(asked).digest() == b"identity"
    assert asked == []

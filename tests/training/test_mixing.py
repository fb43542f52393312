import numpy as np
import pytest
import torch

from sktransfer.exceptions import ParameterError
from sktransfer.training.losses import Targets
from sktransfer.training.mixing import Mixing
from tests.training.helpers import row_loss

N, CLASSES = 8, 3


def mixed(X, targets, mixup=0.0, cutmix=0.0, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Mixing(mixup, cutmix, CLASSES)(X, targets)


def some_targets(weights=None, teacher=None):
    return Targets(
        torch.arange(N) % CLASSES, torch.ones(N) if weights is None else weights, teacher
    )


def partners(X):
    """Which rows of the identity matrix were mixed, and the share of the second one."""
    others = X.clone().fill_diagonal_(0)
    share = others.amax(1)
    return torch.where(share > 0, others.argmax(1), torch.arange(len(X))), share.max()


def test_rows_are_mixed_with_others_in_one_share():
    X, _ = mixed(torch.eye(N), some_targets(), mixup=1.0)
    partner, share = partners(X)
    assert sorted(partner.tolist()) == list(range(N))
    expected = (1 - share) * torch.eye(N) + share * torch.eye(N)[partner]
    torch.testing.assert_close(X, expected)


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("taught", [False, True])
def test_the_mixed_loss_is_the_mean_of_both_losses(unequal, label_smoothing, taught):
    torch.manual_seed(5)
    weights = torch.rand(N) + 0.1 if unequal else None
    teacher = torch.randn(N, CLASSES).softmax(1) if taught else None
    targets = some_targets(weights, teacher)
    loss = row_loss(label_smoothing=label_smoothing)
    scores = torch.randn(N, CLASSES)
    X, new = mixed(torch.eye(N), targets, mixup=1.0, seed=3)
    partner, share = partners(X)
    assert 0.05 < share < 0.95

    def of(y, weights, teacher, _):
        return loss(scores, Targets(y, weights, teacher)) * weights

    others = Targets(*(None if part is None else part[partner] for part in targets))
    expected = (1 - share) * of(*targets) + share * of(*others)
    torch.testing.assert_close(of(*new), expected)


def test_rows_of_weight_0_leave_no_trace_in_the_targets():
    weights = torch.ones(N)
    weights[: N // 2] = 0
    X, new = mixed(torch.eye(N), some_targets(weights), mixup=1.0, seed=3)
    partner, share = partners(X)
    assert torch.isfinite(new.y).all()
    torch.testing.assert_close(new.weights, (1 - share) * weights + share * weights[partner])
    alone = (weights > 0) & (weights[partner] == 0)
    assert alone.any()
    assert torch.equal(new.y[alone].argmax(1), (torch.arange(N) % CLASSES)[alone])
    assert torch.equal(new.y[alone].amax(1), torch.ones(int(alone.sum())))


def test_an_indicator_is_mixed_as_it_is():
    y = torch.randint(0, 2, (N, CLASSES), generator=torch.Generator().manual_seed(0)).float()
    X, new = mixed(torch.eye(N), Targets(y, torch.ones(N)), mixup=1.0)
    partner, share = partners(X)
    torch.testing.assert_close(new.y, (1 - share) * y + share * y[partner])


def numbered_maps(h=8, w=6):
    return torch.arange(N).float()[:, None, None, None].expand(N, 2, h, w).clone()


@pytest.mark.parametrize("seed", range(10))
def test_cutmix_pastes_one_box_and_targets_know_its_area(seed):
    X, new = mixed(numbered_maps(), some_targets(), cutmix=1.0, seed=seed)
    own = torch.arange(N)[:, None, None, None]
    foreign = own != X
    moved = foreign.flatten(1).any(1)
    partner = torch.where(moved, (X * foreign).flatten(1).amax(1).long(), torch.arange(N))
    if not moved.any():
        assert torch.equal(new.y.argmax(1), torch.arange(N) % CLASSES)
        return
    box = foreign[moved]
    assert (box == box[:1, :1]).all()  # the same places in every row and channel
    places = box[0, 0].nonzero()
    (top, left), (bottom, right) = places.amin(0), places.amax(0) + 1
    area = (bottom - top) * (right - left)
    assert len(places) == area
    share = area / 48
    partner_y = torch.nn.functional.one_hot(partner % CLASSES, CLASSES)
    own_y = torch.nn.functional.one_hot(torch.arange(N) % CLASSES, CLASSES)
    expected = (1 - share) * own_y + share * partner_y
    torch.testing.assert_close(new.y[moved], expected[moved])


def test_the_box_of_cutmix_varies():
    boxes = [mixed(numbered_maps(), some_targets(), cutmix=1.0, seed=seed)[0] for seed in range(20)]
    areas = {int((box != numbered_maps()).flatten(1).sum(1).amax()) for box in boxes}
    assert len(areas) > 5


@pytest.mark.parametrize("kind", [int, np.int64, np.float32, np.float64])
def test_any_kind_of_number_will_do(kind):
    for name in ("mixup", "cutmix"):
        X, new = mixed(numbered_maps(), some_targets(), **{name: kind(1)}, seed=2)
        expected, others = mixed(numbered_maps(), some_targets(), **{name: 1.0}, seed=2)
        assert torch.equal(X, expected)
        assert torch.equal(new.y, others.y)


def test_cutmix_leaves_what_it_was_given():
    given = numbered_maps()
    mixed(given, some_targets(), cutmix=1.0, seed=1)
    assert torch.equal(given, numbered_maps())


def test_with_both_each_batch_gets_one_of_them():
    def pasted(seed):
        X, _ = mixed(numbered_maps(), some_targets(), mixup=1.0, cutmix=1.0, seed=seed)
        return bool((X.round() == X).all())

    kinds = [pasted(seed) for seed in range(60)]
    assert 15 < sum(kinds) < 45


def test_seeds_say_what_is_mixed():
    X, targets = torch.randn(N, 2, 4, 4), some_targets()
    for options in ({"mixup": 0.4}, {"cutmix": 1.0}):
        first, again, other = (mixed(X, targets, **options, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1].y, again[1].y)
        assert not torch.equal(first[0], other[0])


def test_pixels_become_floats():
    pixels = torch.randint(0, 256, (N, 3, 4, 4), dtype=torch.uint8)
    assert mixed(pixels, some_targets(), mixup=1.0)[0].dtype == torch.float32
    half = torch.randn(N, 3, dtype=torch.float16)
    assert mixed(half, some_targets(), mixup=1.0)[0].dtype == torch.float16


def test_a_small_alpha_mixes_little():
    shares = torch.tensor(
        [partners(mixed(torch.eye(N), some_targets(), 0.05, seed=seed)[0])[1] for seed in range(60)]
    )
    assert (torch.minimum(shares, 1 - shares) < 0.01).float().mean() > 0.6


def test_cutmix_of_features_says_what_to_use():
    with pytest.raises(ParameterError, match=r"cutmix .* \(5,\).* Use mixup"):
        mixed(torch.randn(N, 5), some_targets(), cutmix=1.0)

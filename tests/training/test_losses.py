from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from sktransfer.exceptions import ParameterError
from sktransfer.training.losses import Targets, as_shares
from tests.training.helpers import row_loss

N, CLASSES = 7, 4


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, CLASSES, generator=generator, dtype=torch.float64) * 2


@pytest.fixture
def codes():
    return torch.arange(N) % CLASSES


@pytest.fixture
def indicator():
    return torch.randint(0, 2, (N, CLASSES), generator=torch.Generator().manual_seed(1)).double()


def of(loss, scores, y, teacher=None):
    return loss(scores, Targets(y, torch.ones(len(y)), teacher))


def binary(scores, shares, **options):
    losses = functional.binary_cross_entropy_with_logits(
        scores, shares.to(scores), reduction="none", **options
    )
    return losses.sum(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_torchs(scores, codes, smoothing):
    theirs = functional.cross_entropy(scores, codes, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(of(row_loss(label_smoothing=smoothing), scores, codes), theirs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_shares_is_torchs(scores, smoothing):
    shares = torch.rand(N, CLASSES, dtype=torch.float64)
    shares = shares / shares.sum(1, keepdim=True)
    theirs = functional.cross_entropy(scores, shares, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(of(row_loss(label_smoothing=smoothing), scores, shares), theirs)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "focal"])
def test_codes_and_their_shares_have_the_same_loss(scores, codes, loss):
    shares = as_shares(codes, CLASSES)
    assert shares.tolist() == torch.eye(CLASSES)[codes].tolist()
    smoothed = row_loss(loss, label_smoothing=0.1)
    torch.testing.assert_close(of(smoothed, scores, codes), of(smoothed, scores, shares))


def test_binary_cross_entropy_is_the_sum_over_classes(scores, codes):
    loss = row_loss("binary_cross_entropy")
    expected = binary(scores, functional.one_hot(codes, CLASSES))
    torch.testing.assert_close(of(loss, scores, codes), expected)


def test_smoothed_presence_tends_to_a_half(scores, indicator):
    loss = row_loss("binary_cross_entropy", multilabel=True, label_smoothing=0.2)
    torch.testing.assert_close(of(loss, scores, indicator), binary(scores, 0.8 * indicator + 0.1))


def test_presence_may_count_more_than_absence(scores, indicator):
    weights = [1.0, 2.0, 0.5, 3.0]
    loss = row_loss("binary_cross_entropy", multilabel=True, positive_weight=weights)
    expected = binary(scores, indicator, pos_weight=torch.tensor(weights).double())
    torch.testing.assert_close(of(loss, scores, indicator), expected)


def test_focal_loss_of_codes_by_hand(scores, codes):
    surprise = functional.cross_entropy(scores, codes, reduction="none")
    expected = (1 - (-surprise).exp()) ** 2 * surprise
    torch.testing.assert_close(of(row_loss("focal"), scores, codes), expected)


def test_focal_loss_of_an_indicator_is_torchvisions_without_its_alpha(scores, indicator):
    theirs = sigmoid_focal_loss(scores, indicator, alpha=-1, gamma=2, reduction="none").sum(1)
    torch.testing.assert_close(of(row_loss("focal", multilabel=True), scores, indicator), theirs)


def test_focal_loss_of_sure_scores_is_0_and_has_a_gradient():
    scores = torch.tensor([[200.0, -200.0, -200.0]], requires_grad=True)
    for y in (torch.tensor([0]), torch.tensor([[1.0, 0, 0]])):
        loss = of(row_loss("focal", multilabel=y.ndim > 1), scores, y)
        (slope,) = torch.autograd.grad(loss.sum(), scores)
        assert loss.item() == 0
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss,
        partial(nn.CrossEntropyLoss, label_smoothing=0.1),
        nn.MultiMarginLoss,
    ],
)
def test_torchs_losses_give_what_torch_gives(scores, codes, loss):
    assert torch.equal(of(row_loss(loss), scores, codes), loss(reduction="none")(scores, codes))


@pytest.mark.parametrize(
    "loss", [nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss, nn.SoftMarginLoss]
)
def test_torchs_losses_of_an_indicator_have_one_value_a_row(scores, indicator, loss):
    ours = of(row_loss(loss, multilabel=True), scores, indicator.float())
    theirs = loss(reduction="none")(scores, indicator)
    torch.testing.assert_close(ours, theirs.reshape(N, -1).sum(1))


def test_a_loss_that_knows_no_reduction_is_told():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()

    with pytest.raises(ParameterError, match=r"Mine.*must be a name from .*reduction='none'"):
        row_loss(Mine)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), functional.cross_entropy])
def test_a_built_loss_or_a_function_is_told(loss):
    with pytest.raises(ParameterError, match="reduction='none'"):
        row_loss(loss)


def test_a_loss_of_one_value_a_batch_is_told(scores, codes):
    class Mean(nn.CrossEntropyLoss):
        def forward(self, scores, y):
            return super().forward(scores, y).mean()

    with pytest.raises(ParameterError, match="Mean gave one value for a whole batch"):
        of(row_loss(Mean), scores, codes)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_teachers_loss_is_the_cross_entropy_of_softened_scores(scores, codes, temperature):
    teacher = torch.randn(N, CLASSES, dtype=torch.float64).softmax(1)
    loss = row_loss(distill_weight=1.0, distill_temperature=temperature)
    softened = functional.cross_entropy(scores / temperature, teacher, reduction="none")
    torch.testing.assert_close(of(loss, scores, codes, teacher), temperature**2 * softened)


def test_a_teacher_of_several_labels_is_followed_label_by_label(scores, indicator):
    teacher = torch.rand(N, CLASSES, dtype=torch.float64)
    loss = row_loss("focal", multilabel=True, distill_weight=1.0, distill_temperature=2.0)
    ours = of(loss, scores, indicator, teacher)
    torch.testing.assert_close(ours, 4 * binary(scores / 2, teacher))


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_labels_have_the_rest_of_the_loss(scores, codes, weight):
    teacher = torch.randn(N, CLASSES, dtype=torch.float64).softmax(1)
    labels = of(row_loss(), scores, codes)
    taught = of(row_loss(distill_weight=1.0), scores, codes, teacher)
    ours = of(row_loss(distill_weight=weight), scores, codes, teacher)
    torch.testing.assert_close(ours, (1 - weight) * labels + weight * taught)


@pytest.mark.parametrize("multilabel", [False, True])
def test_who_gives_the_teachers_scores_learns_nothing_more(scores, codes, indicator, multilabel):
    scores.requires_grad_()
    soft = scores.detach() / 2.5
    teacher = soft.sigmoid() if multilabel else soft.softmax(1)
    name = "binary_cross_entropy" if multilabel else "cross_entropy"
    loss = row_loss(name, multilabel=multilabel, distill_weight=1.0, distill_temperature=2.5)
    losses = of(loss, scores, indicator if multilabel else codes, teacher)
    (slope,) = torch.autograd.grad(losses.sum(), scores)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    assert (losses > 0.1).all()


def test_without_a_teacher_its_weight_means_nothing(scores, codes):
    plain, taught = row_loss(), row_loss(distill_weight=0.9)
    assert torch.equal(of(taught, scores, codes), of(plain, scores, codes))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "focal"])
def test_losses_have_true_gradients(scores, codes, loss):
    teacher = torch.randn(N, CLASSES, dtype=torch.float64).softmax(1)
    smoothed = row_loss(loss, label_smoothing=0.1)
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: of(smoothed, s, codes, teacher), scores)


def test_targets_move_as_a_whole():
    targets = Targets(torch.arange(2), torch.ones(2), torch.ones(2, 2), torch.ones(2, 5))
    targets = targets.to("meta")
    assert {part.device.type for part in targets} == {"meta"}
    assert Targets(torch.arange(2), torch.ones(2)).to("meta").teacher is None

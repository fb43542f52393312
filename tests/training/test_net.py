import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sktransfer.exceptions import TrainingDivergedError
from sktransfer.training.batches import RowBatches, Rows
from sktransfer.training.head import NormalisedLinear, mean_and_length
from sktransfer.training.net import LowestStep, ProbeNet, TransferNet

N, WIDTH, CLASSES = 41, 6, 3


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = np.arange(N) % CLASSES
    X = 5 + rng.normal(0, 1, (N, WIDTH)) + np.eye(CLASSES, WIDTH)[y]
    weights = torch.from_numpy(rng.uniform(0.5, 2, N)).float()
    return Rows(torch.from_numpy(X).float(), torch.from_numpy(y), weights / weights.mean())


def probe(rows):
    return NormalisedLinear(*mean_and_length(RowBatches(rows, 10)), CLASSES)


def fitted(net_class, module, rows, **options):
    return net_class(module, verbose=0, **options).fit(rows)


def lbfgs(rows, **options):
    settings = {
        "optimizer": torch.optim.LBFGS,
        "optimizer__line_search_fn": "strong_wolfe",
        "optimizer__max_iter": 200,
        "optimizer__max_eval": 1000,
        "optimizer__tolerance_grad": 1e-12,
        "optimizer__tolerance_change": 0.0,
        "lr": 1.0,
        "max_epochs": 1,
    }
    return fitted(ProbeNet, probe(rows), rows, **{**settings, **options})


@pytest.mark.parametrize("batch_size", [1, 7, 40, 41, 100])
def test_a_step_sees_the_gradient_of_all_rows(rows, batch_size):
    penalty = 0.3
    module = probe(rows)
    nn.init.normal_(module.linear.weight)
    start = module.linear.weight.detach().clone()
    X, (y, weights) = rows[:]
    losses = nn.functional.cross_entropy(module(X), y, reduction="none")
    expected = (losses * weights).mean() + penalty / 2 * (module.linear.weight**2).sum()
    (slope,) = torch.autograd.grad(expected, module.linear.weight)

    net = fitted(
        ProbeNet,
        module,
        rows,
        l2_penalty=penalty,
        optimizer=torch.optim.SGD,
        lr=0.1,
        max_epochs=1,
        batch_size=batch_size,
    )
    assert net.history[-1, "train_loss"] == pytest.approx(expected.item())
    torch.testing.assert_close(start - 0.1 * slope, net.module_.linear.weight)


def test_the_bias_is_not_penalised(rows):
    module = probe(rows)
    nn.init.constant_(module.linear.bias, 100.0)
    net = fitted(ProbeNet, module, rows, l2_penalty=1.0, max_epochs=1, lr=0.0)
    assert net.history[-1, "train_loss"] < 10


def test_the_solution_is_scikit_learns(rows):
    penalty = 1e-2
    net = lbfgs(rows, l2_penalty=penalty)
    X, (y, weights) = rows[:]
    scaled = ((X.double() - net.module_.mean) / net.module_.length).numpy()
    theirs = LogisticRegression(C=1 / (penalty * N), tol=1e-10, max_iter=1000)
    theirs.fit(scaled, y, sample_weight=weights)
    ours = net.scores(X).softmax(1)
    np.testing.assert_allclose(ours, theirs.predict_proba(scaled), rtol=1e-4)


def test_batches_change_nothing_in_the_solution(rows):
    first, second = (lbfgs(rows, l2_penalty=1e-2, batch_size=size) for size in (10, 41))
    torch.testing.assert_close(
        first.module_.linear.weight, second.module_.linear.weight, rtol=1e-6, atol=1e-8
    )


def test_no_more_rows_than_a_batch_are_computed_at_once(rows):
    class Counted(NormalisedLinear):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    sizes = []
    module = Counted(*mean_and_length(RowBatches(rows, 10)), CLASSES)
    fitted(ProbeNet, module, rows, max_epochs=2, lr=0.1, batch_size=20)
    assert sizes == [20, 21, 20, 21]


def test_validation_rows_are_scored(rows):
    from skorch.helper import predefined_split

    net = lbfgs(rows, train_split=predefined_split(rows), batch_size=10)
    X, (y, weights) = rows[:]
    right = net.scores(X).argmax(1) == y
    expected = (right * weights).sum() / weights.sum()
    assert net.history[-1, "valid_score"] == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("net_class", [TransferNet, ProbeNet])
def test_divergence_is_told(rows, net_class):
    module = nn.Linear(WIDTH, CLASSES)
    nn.init.constant_(module.weight, float("nan"))
    with pytest.raises(TrainingDivergedError, match=r"became nan in epoch 1 .* rate of 0\.01"):
        fitted(net_class, module, rows, lr=0.01)


def test_order_of_batches_comes_from_the_seed(rows):
    def weights_after(seed):
        module = nn.Linear(WIDTH, CLASSES)
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        net = fitted(TransferNet, module, rows, seed=seed, lr=0.1, max_epochs=2, batch_size=8)
        return net.module_.weight

    assert torch.equal(weights_after(1), weights_after(1))
    assert not torch.equal(weights_after(1), weights_after(2))


def test_the_lowest_loss_of_a_step_is_written_down():
    lowest = LowestStep()
    assert lowest.get_step() is None
    for loss in (3.0, 1.0, 2.0):
        lowest.store_step({"loss": torch.tensor(loss)})
    assert lowest.get_step()["loss"] == 1

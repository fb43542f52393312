import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback
from torch import nn

from sktransfer.activations.views import FixedViews
from sktransfer.training import lbfgs
from sktransfer.training.batches import Rows, all_batches
from sktransfer.training.head import NormalisedLinear, mean_and_length
from sktransfer.training.lbfgs import LowestStep, ProbeNet, converged, solve
from sktransfer.training.losses import as_loss
from tests.training.helpers import CLASSES, criterion, feature_rows

N = 41


@pytest.fixture
def rows():
    return feature_rows(N)


def probe(rows, kind=NormalisedLinear):
    return kind(*mean_and_length(lambda: all_batches(rows, 10)), CLASSES)


def fitted(module, rows, **options):
    return ProbeNet(module, verbose=0, **criterion(), **options).trained_on(rows)


def solved(rows, **options):
    settings = {"weight_decay": 1e-2, "begin_like": None, "callbacks": [], "max_epochs": 10}
    settings |= criterion()
    return solve(rows, CLASSES, verbose=0, **{**settings, **options})


def penalised(module, rows, penalty):
    X, (y, weights, *_) = rows[:]
    losses = nn.functional.cross_entropy(module(X), y, reduction="none")
    return (losses * weights).mean() + penalty / 2 * (module.linear.weight**2).sum()


@pytest.mark.parametrize("batch_size", [1, 7, 40, 41, 100])
def test_a_step_sees_the_gradient_of_all_rows(rows, batch_size):
    module = probe(rows)
    nn.init.normal_(module.linear.weight)
    start = module.linear.weight.detach().clone()
    expected = penalised(module, rows, 0.3)
    (slope,) = torch.autograd.grad(expected, module.linear.weight)
    net = fitted(
        module,
        rows,
        l2_penalty=0.3,
        optimizer=torch.optim.SGD,
        lr=0.1,
        max_epochs=1,
        batch_size=batch_size,
    )
    assert net.history[-1, "train_objective"] == pytest.approx(expected.item())
    torch.testing.assert_close(start - 0.1 * slope, net.module_.linear.weight.detach())


def test_the_bias_is_not_penalised(rows):
    module = probe(rows)
    nn.init.constant_(module.linear.bias, 100.0)
    net = fitted(module, rows, l2_penalty=1.0, max_epochs=1, lr=0.0)
    assert net.history[-1, "train_objective"] < 10


def test_no_more_rows_than_a_batch_are_computed_at_once(rows):
    sizes = []

    class Counted(NormalisedLinear):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    fitted(probe(rows, Counted), rows, max_epochs=2, lr=0.1, batch_size=20)
    assert sizes == [20, 21, 20, 21]


def test_the_solution_is_scikit_learns(rows):
    net = solved(rows)
    X, (y, weights, *_) = rows[:]
    scaled = ((X.double() - net.module_.mean) / net.module_.length).numpy()
    theirs = LogisticRegression(C=1 / (1e-2 * N), tol=1e-10, max_iter=1000)
    theirs.fit(scaled, y, sample_weight=weights)
    ours = net.scores(X).softmax(1)
    np.testing.assert_allclose(ours, theirs.predict_proba(scaled), rtol=1e-3)
    assert ours.dtype == torch.float64


def test_batches_change_nothing_in_the_solution(rows, monkeypatch):
    whole = solved(rows)
    monkeypatch.setattr(lbfgs, "_ROWS_AT_ONCE", 10)
    torch.testing.assert_close(solved(rows).scores_of(rows), whole.scores_of(rows))


def test_every_view_counts_alike(rows):
    X, (y, weights, *_) = rows[:]
    other = X + torch.randn(X.shape, generator=torch.Generator().manual_seed(9))
    views = solved(Rows(FixedViews([X, other]), y, weights))
    copies = solved(Rows(torch.cat([X, other]), y.repeat(2), weights.repeat(2)))
    torch.testing.assert_close(views.scores(X), copies.scores(X))
    assert not torch.allclose(views.scores(X), solved(rows).scores(X))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_the_solution_has_no_slope(rows, loss):
    net = solved(rows, **criterion(loss, as_loss(loss).task(multilabel=False)))
    X, targets = rows[:]
    module = net.module_
    module.zero_grad()
    losses = net.criterion_.train()(module(X), targets) * targets.weights
    (losses.mean() + 1e-2 / 2 * (module.linear.weight**2).sum()).backward()
    assert all(parameter.grad.abs().max() < 1e-4 for parameter in module.parameters())


def test_from_the_solution_there_is_nothing_left_to_do(rows):
    first = solved(rows)
    again = solved(rows, begin_like=first.module_)
    begun, ended = again.history[0, "train_objective"], first.history[-1, "train_objective"]
    assert begun == pytest.approx(ended)
    assert len(again.history) <= len(first.history)
    X = rows.views(0)
    torch.testing.assert_close(again.scores(X), first.scores(X), rtol=1e-3, atol=1e-3)


def test_what_is_known_to_have_converged_stops(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = solved(rows, max_epochs=50, callbacks=[("converged", converged())])
    assert 1 < len(net.history) < 50


def test_too_few_epochs_are_told(rows, monkeypatch):
    monkeypatch.setattr(lbfgs, "_ITERATIONS", 1)
    with pytest.warns(ConvergenceWarning, match="max_epochs=1 epochs of 1 iterations"):
        solved(rows, max_epochs=1, weight_decay=1e-6)


def test_who_interrupts_is_not_told_that_nothing_converged(rows):
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    net = solved(rows, max_epochs=1, callbacks=[("interrupt", Interrupt())])
    assert net.interrupted_
    assert torch.isfinite(net.scores_of(rows)).all()


def test_the_lowest_loss_of_a_step_is_written_down():
    lowest = LowestStep()
    assert lowest.get_step() is None
    for loss in (3.0, 1.0, 2.0):
        lowest.store_step({"loss": torch.tensor(loss)})
    assert lowest.get_step()["loss"] == 1


def test_the_history_holds_the_loss_of_the_rows_and_what_was_minimised(rows):
    net = solved(rows)
    for key, penalty in [("train_loss", 0.0), ("train_objective", 1e-2)]:
        expected = penalised(net.module_, rows, penalty).item()
        assert net.history[-1, key] == pytest.approx(expected, rel=1e-6)
    objectives = net.history[:, "train_objective"]
    assert objectives == sorted(objectives, reverse=True)


def test_rows_that_begin_at_the_least_loss_may_still_gain_by_smaller_weights(rows):
    begun = solved(rows, weight_decay=1e-6)
    # The loss of the rows rises from the first epoch on; the objective falls.
    net = solved(rows, weight_decay=1e-1, begin_like=begun.module_, max_epochs=20)
    alone = solved(rows, weight_decay=1e-1, max_epochs=20)
    X = rows.views(0)
    torch.testing.assert_close(
        net.scores(X).softmax(1), alone.scores(X).softmax(1), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(("room", "kept"), [(1, 10), (12, 12), (10_000, 100)])
def test_the_steps_remembered_take_a_bounded_memory(rows, monkeypatch, room, kept):
    a_pair = 2 * 8 * (6 + 1) * CLASSES  # a step and a gradient, in float64
    monkeypatch.setattr(lbfgs, "_HISTORY_BYTES", room * a_pair)
    net = solved(rows, weight_decay=1e-6)
    (state,) = net.optimizer_.state_dict()["state"].values()
    assert net.optimizer_.defaults["history_size"] == kept
    assert 10 <= len(state["old_dirs"]) <= kept

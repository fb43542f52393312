import copy

import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from torch import nn

from sktransfer.activations.views import FixedViews, FreshViews
from sktransfer.exceptions import TrainingDivergedError
from sktransfer.training.batches import Rows
from sktransfer.training.callbacks import silent
from sktransfer.training.head import Dropout, build_head
from sktransfer.training.lbfgs import ProbeNet
from sktransfer.training.mixing import Mixing
from sktransfer.training.module import TransferModule
from sktransfer.training.net import TransferNet
from sktransfer.training.task import SeveralLabels
from tests.training.helpers import (
    CLASSES,
    criterion,
    feature_rows,
    flat,
    map_rows,
    module_of,
    small_stages,
    trained,
    zero_linear,
)


class Batches(Callback):
    """Record the input of each epoch: the first feature of every row."""

    def __init__(self):
        self.seen = []

    def on_epoch_begin(self, net, **kwargs):
        self.seen.append([])

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            self.seen[-1].append(batch[0].flatten(1)[:, 0].tolist())


class Weights(Callback):
    """The weights after every step."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, net, training=None, **kwargs):
        if training:
            self.seen.append(weights_of(net))


class Interrupt(Callback):
    """Ctrl-C in a batch of training."""

    def __init__(self, epoch, batch=1):
        self.epoch, self.batch = epoch, batch

    def on_batch_end(self, net, training=None, **kwargs):
        now = len(net.history) - 1, len(net.history[-1, "batches"]) - 1
        if training and now == (self.epoch, self.batch):
            raise KeyboardInterrupt


def weights_of(net):
    return [parameter.detach().clone() for parameter in net.module_.parameters()]


def same(weights, others):
    return all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


def close(weights, others):
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(weights, others, strict=True))


def epochs_of(rows, **options):
    batches = Batches()
    net = trained(module_of(zero_linear()), rows, callbacks=[("batches", batches)], **options)
    return batches.seen, net


def dropping():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return module_of(*build_head(6, (16,), 0.5, CLASSES))


def test_the_order_of_an_epoch_comes_from_the_seed_and_its_number():
    rows = feature_rows()
    first, _ = epochs_of(rows, seed=1, max_epochs=3, batch_size=8)
    assert first[0] != first[1]
    torch.rand(5)  # the global generator has no say
    assert epochs_of(rows, seed=1, max_epochs=2, batch_size=8)[0] == first[:2]
    assert epochs_of(rows, seed=2, max_epochs=1, batch_size=8)[0] != first[:1]
    for epoch in first:
        assert sorted(flat(epoch)) == sorted(rows.views(0)[:, 0].tolist())


def test_the_learning_rate_changes_nothing_in_what_is_drawn():
    rows = feature_rows()
    assert epochs_of(rows, lr=0.0)[0] == epochs_of(rows, lr=1.0)[0]


def test_dropout_and_mixing_come_from_the_seed():
    def weights_after(seed):
        mixing = Mixing(0.4, 0.0, CLASSES)
        return weights_of(trained(dropping(), feature_rows(), mixing=mixing, seed=seed))

    first = weights_after(1)
    torch.rand(5)
    assert same(first, weights_after(1))
    assert not same(first, weights_after(2))


def test_training_leaves_the_global_generator_as_it_was():
    module = module_of(Dropout(0.5), zero_linear())
    state = torch.random.get_rng_state()
    trained(module, feature_rows())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_a_view_draws_has_no_influence_on_the_training():
    rows = feature_rows()
    X = rows.views(0)
    drawing = FreshViews(lambda view: (torch.rand(view + 1), X)[1], len(X), bytes)
    fixed, drawn = (trained(dropping(), data) for data in (rows, Rows(drawing, *rows.targets)))
    assert same(weights_of(fixed), weights_of(drawn))


def test_views_take_turns():
    views = FixedViews([torch.zeros(5, 6), torch.ones(5, 6)])
    seen, _ = epochs_of(Rows(views, torch.arange(5) % CLASSES), max_epochs=3)
    assert [set(flat(epoch)) for epoch in seen] == [{0.0}, {1.0}, {0.0}]


def test_sampling_says_which_rows_come():
    y = torch.tensor([0] * 8 + [1] * 2)
    rows = Rows(torch.arange(10.0)[:, None].expand(10, 6) / 10, y)
    seen, net = epochs_of(rows, sampling="undersample", batch_size=2)
    assert [len(flat(epoch)) for epoch in seen] == [4, 4]
    assert net.history[:, "train_batch_count"] == [2, 2]


def test_rows_count_by_their_weights():
    rows = feature_rows()
    net = trained(module_of(zero_linear()), rows, lr=0.1, max_epochs=1, batch_size=100)
    X, (y, weights, *_) = rows[:]
    layer = zero_linear()
    losses = nn.functional.cross_entropy(layer(X), y, reduction="none")
    (losses * weights).mean().backward()
    ours = net.module_.head[-1]
    torch.testing.assert_close(ours.weight.detach(), -0.1 * layer.weight.grad)
    assert net.history[-1, "train_loss"] == pytest.approx((losses * weights).mean().item())


def test_validation_rows_are_scored():
    rows = feature_rows()
    validation = feature_rows(n=31, seed=3)
    net = trained(
        module_of(zero_linear()),
        rows,
        train_split=predefined_split(validation),
        batch_size=10,
        max_epochs=3,
    )
    X, (y, weights, *_) = validation[:]
    scores = net.scores(X)
    right = (scores.argmax(1) == y).float()
    assert 0 < right.mean() < 1
    assert net.history[-1, "valid_score"] == pytest.approx((right * weights).mean().item())
    losses = nn.functional.cross_entropy(scores, y, reduction="none")
    assert net.history[-1, "valid_loss"] == pytest.approx((losses * weights).mean().item())


def test_a_row_of_several_labels_is_right_if_all_are():
    y = torch.tensor([[1.0, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 1]])
    rows = Rows(torch.zeros(4, 6), y)
    module = module_of(zero_linear())
    with torch.no_grad():
        module.head[0].bias.copy_(torch.tensor([1.0, -1.0, 2.0]))
    net = trained(
        module,
        rows,
        train_split=predefined_split(rows),
        **criterion("binary_cross_entropy", SeveralLabels()),
        lr=0.0,
        max_epochs=1,
    )
    assert net.history[-1, "valid_score"] == 0.25


def test_the_rate_of_the_head_is_written_down():
    net = trained(module_of(zero_linear()), feature_rows(), lr=0.03, max_epochs=2)
    assert net.history[:, "lr"] == [0.03, 0.03]


@pytest.mark.parametrize("net_class", [TransferNet, ProbeNet])
def test_divergence_is_told(net_class):
    layer = nn.Linear(6, CLASSES)
    nn.init.constant_(layer.weight, float("nan"))
    with pytest.raises(TrainingDivergedError, match=r"became nan in epoch 1 .* rate of 0\.01"):
        net_class(layer, lr=0.01, verbose=0, **criterion()).trained_on(feature_rows())


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_an_interrupt_in_a_batch_leaves_a_net_that_can_be_used(ema_decay):
    steps = Weights()
    rows = feature_rows()
    net = trained(
        module_of(zero_linear()),
        rows,
        batch_size=7,
        max_epochs=5,
        ema_decay=ema_decay,
        callbacks=[("steps", steps), ("interrupt", Interrupt(1))],
    )
    assert net.interrupted_
    assert len(net.history) == 2
    assert len(steps.seen) == 6
    expected = steps.seen[0]
    for seen in steps.seen[1:]:
        decay = ema_decay or 0
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, seen, strict=True)]
    assert close(weights_of(net), expected)
    assert torch.isfinite(net.scores_of(rows)).all()


def test_to_stop_early_is_no_interrupt():
    stopping = EarlyStopping("train_loss", patience=1, threshold=10.0, sink=silent)
    net = trained(
        module_of(zero_linear()), feature_rows(), max_epochs=9, callbacks=[("stop", stopping)]
    )
    assert not net.interrupted_
    assert len(net.history) < 9


def test_other_errors_come_through():
    class Broken(Callback):
        def on_batch_end(self, net, **kwargs):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(module_of(zero_linear()), feature_rows(), callbacks=[("broken", Broken())])


@pytest.mark.parametrize("largest", [0.01, 0.1, 1e6])
def test_gradients_are_clipped_together(largest):
    rows = feature_rows()
    options = {"lr": 1.0, "max_epochs": 1, "batch_size": 100}
    free = weights_of(trained(module_of(zero_linear()), rows, **options))
    clipped = weights_of(
        trained(module_of(zero_linear()), rows, gradient_clipping=largest, **options)
    )
    norm = torch.cat([part.flatten() for part in free]).norm()
    share = min(1.0, largest / norm.item())
    assert close(clipped, [share * part for part in free])


def test_the_average_is_shown_outside_training_and_only_there():
    class Shown(Callback):
        def __init__(self):
            self.valid, self.ends = [], []

        def on_batch_begin(self, net, training=None, **kwargs):
            if not training:
                self.valid.append(weights_of(net))

        def on_epoch_end(self, net, **kwargs):
            self.ends.append(weights_of(net))

    steps, shown = Weights(), Shown()
    rows = feature_rows()
    options = {"batch_size": 9, "max_epochs": 2, "train_split": predefined_split(rows)}
    net = trained(
        module_of(zero_linear()),
        rows,
        ema_decay=0.8,
        callbacks=[("steps", steps), ("shown", shown)],
        **options,
    )
    plain = Weights()
    trained(module_of(zero_linear()), rows, callbacks=[("steps", plain)], **options)
    # The average has no part in the training itself.
    assert all(same(a, b) for a, b in zip(steps.seen, plain.seen, strict=True))
    averages = [steps.seen[0]]
    for seen in steps.seen[1:]:
        pairs = zip(averages[-1], seen, strict=True)
        averages.append([0.8 * old + 0.2 * new for old, new in pairs])
    half = len(averages) // 2
    for where in (half, 2 * half):
        assert close(shown.ends[where // half - 1], averages[where - 1])
    assert close(shown.valid[0], averages[half - 1])
    assert close(weights_of(net), averages[-1])
    assert not close(weights_of(net), steps.seen[-1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precisions_train_weights_of_float32(precision):
    computed = []

    class Seen(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            computed.append(out.dtype)
            return out

    layer = Seen(6, CLASSES)
    layer.load_state_dict(zero_linear().state_dict())
    rows = feature_rows()
    # Enough steps: the first few of float16 are left out, until the scale of its loss fits.
    options = {"max_epochs": 40, "lr": 0.05, "optimizer": torch.optim.AdamW, "batch_size": 7}
    net = trained(module_of(layer), rows, precision=precision, **options)
    full = trained(module_of(zero_linear()), rows, **options)
    assert set(computed) == {getattr(torch, precision)}
    assert all(parameter.dtype == torch.float32 for parameter in net.module_.parameters())
    assert net.scores_of(rows).dtype == torch.float32
    reached, expected = (each.history[-1, "train_loss"] for each in (net, full))
    assert reached == pytest.approx(expected, rel=0.1)
    assert not torch.equal(net.scores_of(rows), full.scores_of(rows))


def test_scores_of_rows_are_those_of_evaluation():
    rows = feature_rows()
    net = trained(dropping(), rows, batch_size=8)
    with torch.no_grad():
        expected = net.module_.eval()(rows.views(0))
    torch.testing.assert_close(net.scores_of(rows), expected)
    torch.testing.assert_close(net.scores(rows.views(0)), expected)


@pytest.mark.parametrize("batch_size", [1, 5, 26])
def test_drawn_scores_do_not_depend_on_the_batches(batch_size):
    X = map_rows().views(0)
    module = TransferModule(small_stages(), build_head(6, (8,), 0.5, CLASSES))
    net = trained(module, map_rows(), max_epochs=1)
    together = net.drawn_scores(X, 4, seed=7)
    assert together.shape == (26, 4, CLASSES)
    parts = [net.drawn_scores(part, 4, seed=7) for part in X.split(batch_size)]
    torch.testing.assert_close(torch.cat(parts), together)
    assert (together.std(dim=1) > 0).all()  # two of four draws may be the same
    assert not torch.equal(net.drawn_scores(X, 4, seed=8), together)


def test_drawn_scores_scatter_about_those_without_dropout():
    rows = feature_rows()
    net = trained(module_of(Dropout(0.2), zero_linear()), rows, max_epochs=3)
    X = rows.views(0)
    drawn = net.drawn_scores(X, 3000, seed=0)
    error = drawn.std(1) / 3000**0.5
    assert ((drawn.mean(1) - net.scores(X)).abs() < 5 * error).all()


def test_after_drawing_dropout_is_off_again():
    rows = feature_rows()
    net = trained(dropping(), rows)
    before = net.scores_of(rows)
    state = torch.random.get_rng_state()
    net.drawn_scores(rows.views(0), 3, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(net.scores_of(rows), before)


def adam(module, rows, **options):
    return trained(module, rows, optimizer=torch.optim.AdamW, lr=0.01, **options)


def test_an_optimizer_goes_on_with_what_it_knew():
    rows = feature_rows()
    whole = adam(module_of(zero_linear()), rows, max_epochs=1, batch_size=100)
    state = whole.optimizer_.state_dict()["state"]
    knowing = adam(copy.deepcopy(whole.module_), rows, max_epochs=1, begin_state=state)
    knew_nothing = adam(copy.deepcopy(whole.module_), rows, max_epochs=1)
    assert knowing.optimizer_.state_dict()["state"][0]["step"] == 2
    assert knew_nothing.optimizer_.state_dict()["state"][0]["step"] == 1
    assert not same(weights_of(knowing), weights_of(knew_nothing))


def test_what_the_optimizer_knew_stays_as_it_was():
    rows = feature_rows()
    first = adam(module_of(zero_linear()), rows)
    state = first.optimizer_.state_dict()["state"]
    before = copy.deepcopy(state)
    adam(copy.deepcopy(first.module_), rows, begin_state=state)
    for number, values in before.items():
        assert all(torch.equal(values[name], state[number][name]) for name in values)


def test_epochs_go_on_after_a_history():
    rows = feature_rows()
    whole, _ = epochs_of(rows, max_epochs=3)

    class Resume(Callback):
        def on_train_begin(self, net, **kwargs):
            net.resume([{"epoch": 1, "batches": []}, {"epoch": 2, "batches": []}], finished=False)

    batches = Batches()
    net = trained(
        module_of(zero_linear()),
        rows,
        max_epochs=3,
        callbacks=[("batches", batches), ("resume", Resume())],
    )
    assert batches.seen == whole[2:]
    assert net.history[:, "epoch"] == [1, 2, 3]

import copy
import io
import pickle
from functools import partial

import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sktransfer.activations.views import FixedViews, FreshViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.exceptions import DeviceMemoryError, ParameterError, TrainingWarning
from sktransfer.training import callbacks
from sktransfer.training.batches import Rows
from sktransfer.training.data import TrainingData
from sktransfer.training.head import Dropout, NormalisedLinear
from sktransfer.training.net import TransferNet
from sktransfer.training.sampling import SAMPLINGS
from sktransfer.training.train import train
from tests.backbones.helpers import same_values, values_of
from tests.training import helpers
from tests.training.helpers import CLASSES, feature_rows, map_rows, maps, small_stages

LAYERS = {"hidden_layer_sizes": (5,)}


def settings_of(**changed):
    usual = {"seed": 3, "lr": 1e-2, "max_epochs": 2, "batch_size": 7, "weight_decay": 1e-2}
    return helpers.settings_of(**{**usual, **changed})


def go_on(settings, module, rows, validation=None):
    """Train head and stages of an earlier training further."""
    return train(settings, TrainingData(module.stages, rows, validation, module.head))


def frozen(rows=None, validation=None, begin_with=None, **settings):
    """Train a head on features."""
    head = None if begin_with is None else begin_with.head
    rows = feature_rows() if rows is None else rows
    data = TrainingData(TrainableStages(), rows, validation, head)
    return train(settings_of(**{"max_epochs": 10, **settings}), data)


def tuned(rows=None, validation=None, stages=None, **settings):
    """Train a head, and stages with it."""
    stages = small_stages() if stages is None else stages
    rows = map_rows() if rows is None else rows
    return train(settings_of(**settings), TrainingData(stages, rows, validation))


def phases(trained):
    return list(dict.fromkeys(row["phase"] for row in trained.history))


def scores(trained, rows):
    return trained.net.scores_of(rows)


def features_of(X, stages=None):
    with torch.no_grad():
        return (small_stages() if stages is None else stages).eval()(X)


@pytest.mark.parametrize(
    ("how", "settings", "expected"),
    [
        (frozen, {}, ["probe"]),
        (frozen, {"head_init": "random"}, ["probe"]),
        (frozen, {"loss": "binary_cross_entropy"}, ["probe"]),
        (frozen, {"optimizer": "adamw"}, ["probe", "head"]),
        (frozen, {"dropout": 0.3}, ["probe", "head"]),
        (frozen, {"mixup": 0.4}, ["probe", "head"]),
        (frozen, {"ema_decay": 0.9}, ["probe", "head"]),
        (frozen, {"loss": "focal"}, ["probe", "head"]),
        (frozen, {"loss": nn.CrossEntropyLoss}, ["probe", "head"]),
        (frozen, {"optimizer": "sgd", "head_init": "random"}, ["head"]),
        (frozen, LAYERS, ["head"]),
        (tuned, {}, ["probe", "fine-tune"]),
        (tuned, {"dropout": 0.3}, ["probe", "fine-tune"]),
        (tuned, LAYERS, ["head", "fine-tune"]),
        (tuned, {"head_init": "random"}, ["fine-tune"]),
        (tuned, {"head_init": "random", **LAYERS}, ["fine-tune"]),
    ],
)
def test_phases(how, settings, expected):
    trained = how(**settings)
    assert phases(trained) == expected
    for phase in expected:
        rows = [row for row in trained.history if row["phase"] == phase]
        assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
        assert {"train_loss", "lr"} <= rows[-1].keys()
        assert "valid_loss" not in rows[-1]


@pytest.mark.parametrize("how", [frozen, tuned])
def test_validation_is_written_down(how):
    make = feature_rows if how is frozen else map_rows
    trained = how(validation=make(n=12, seed=5))
    assert all({"valid_loss", "valid_score"} <= row.keys() for row in trained.history)
    right = (scores(trained, make(n=12, seed=5)).argmax(1) == torch.arange(12) % CLASSES).float()
    weights = make(n=12, seed=5).targets.weights
    assert trained.history[-1]["valid_score"] == pytest.approx((right * weights).mean().item())


def test_the_probe_has_its_epochs_however_few_fine_tuning_has():
    trained = tuned(max_epochs=1)
    assert [row["phase"] for row in trained.history].count("fine-tune") == 1
    assert [row["phase"] for row in trained.history].count("probe") > 1


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_fine_tuning_begins_with_the_solved_head(dropout):
    X, y = maps()
    trained = tuned(lr=0.0, dropout=dropout)
    alone = frozen(Rows(features_of(X), y))
    torch.testing.assert_close(scores(trained, map_rows()), scores(alone, Rows(features_of(X), y)))
    assert isinstance(trained.net.module_.head[-1], NormalisedLinear)
    assert isinstance(trained.net.module_.head[0], Dropout) == bool(dropout)


def test_fine_tuning_lowers_what_the_probe_reached():
    trained = tuned(max_epochs=10)
    probe = [row["train_loss"] for row in trained.history if row["phase"] == "probe"]
    assert trained.history[-1]["train_loss"] < probe[-1]


def test_layers_are_trained_on_features_before_the_stages_move():
    before = small_stages()
    X, y = maps()
    alone = frozen(Rows(features_of(X), y), max_epochs=10, **LAYERS)
    trained = tuned(lr=0.0, **LAYERS)
    assert same_values(values_of(before), values_of(trained.net.module_.stages))
    # With a rate of 0 nothing moves; with one, the first phase is that of frozen features.
    first = [row for row in tuned(**LAYERS).history if row["phase"] == "head"]
    losses = [row["train_loss"] for row in alone.history]
    assert [row["train_loss"] for row in first] == pytest.approx(losses)


def test_a_random_head_comes_from_the_seed():
    settings = {"head_init": "random", "lr": 0.0}
    first, again = (tuned(**settings, seed=seed).net.module_.head for seed in (1, 1))
    other = tuned(**settings, seed=2).net.module_.head
    assert same_values(values_of(first), values_of(again))
    assert not same_values(values_of(first), values_of(other))


def test_stages_are_trained_in_place():
    stages = small_stages()
    trained = tuned(stages=stages)
    assert trained.net.module_.stages is stages
    assert not same_values(values_of(stages), values_of(small_stages()))


class Rates(Callback):
    """Record rates of all groups and the stages that train, at each epoch or step."""

    def __init__(self):
        self.steps, self.trains, self.values = [], [], []

    def on_epoch_begin(self, net, **kwargs):
        stages = net.module_.stages
        self.values.append(values_of(stages))
        names = [name for name, _ in stages.named_children()]
        self.trains.append(
            [n for n in names if next(stages.get_submodule(n).parameters()).requires_grad]
        )

    def on_batch_begin(self, net, training=None, **kwargs):
        if training:
            self.steps.append([group["lr"] for group in net.optimizer_.param_groups])


@pytest.mark.parametrize("head_init", ["probe", "random"])
@pytest.mark.parametrize("asked", [True, [1, 3]])
def test_stages_stay_fixed_until_their_epoch(head_init, asked):
    seen = Rates()
    trained = tuned(
        head_init=head_init,
        gradual_unfreezing=asked,
        max_epochs=6,
        callbacks=[("seen", seen)],
    )
    if asked is True:
        high, low = (2, 4) if head_init == "random" else (0, 3)
    else:
        high, low = asked
    values = [*seen.values, values_of(trained.net.module_.stages)]
    for name, first in (("high", high), ("low", low)):
        key = f"{name}.0.weight"
        moved = [not torch.equal(values[i][key], values[i + 1][key]) for i in range(6)]
        assert moved == [epoch >= first for epoch in range(6)]
    assert all(parameter.requires_grad for parameter in trained.net.module_.parameters())


def test_an_epoch_for_each_depth_is_asked_for():
    with pytest.raises(ParameterError, match="names 1 stages"):
        tuned(gradual_unfreezing=[0])


def test_deeper_stages_learn_slower():
    seen = Rates()
    tuned(schedule=None, lr=0.01, lr_decay=0.5, callbacks=[("seen", seen)])
    assert seen.steps[0] == pytest.approx([0.0025, 0.005, 0.01])


# Without the penalty, which such steps would make infinite.
TOO_FAST = {"optimizer": "sgd", "lr": 0.5, "schedule": None, "feature_penalty": 0.0}


@pytest.mark.parametrize("settings", [{}, {"hidden_layer_sizes": (32,)}], ids=str)
def test_stages_that_forget_what_the_head_had_learned_are_told(settings):
    with pytest.warns(TrainingWarning, match=r"far above the \d\.\d+ .*smaller lr, now 0\.5"):
        tuned(**{**TOO_FAST, **settings, "max_epochs": 6})


@pytest.mark.parametrize(
    "settings",
    [
        # Losses of harder rows, of another kind, or of another network say nothing.
        {"mixup": 0.4},
        {"dropout": 0.5},
        {"loss": "focal"},
        {"head_init": "random"},
        {"stages": False},
        {"rows": FreshViews(lambda _: maps()[0], 26, lambda: b"")},
    ],
)
def test_only_what_can_be_compared_is(settings):
    settings = {**TOO_FAST, **settings}
    stages = small_stages(fixed_statistics=settings.pop("stages", True))
    rows = settings.pop("rows", None)
    trained = tuned(None if rows is None else Rows(rows, maps()[1]), stages=stages, **settings)
    assert trained.history[-1]["train_loss"] > 0


def test_the_probe_is_recorded_by_its_loss_as_fine_tuning_is():
    trained = tuned(weight_decay=0.3, lr=1e-9)  # nothing moves: both are of the same scores
    assert phases(trained) == ["probe", "fine-tune"]
    probe = [row["train_loss"] for row in trained.history if row["phase"] == "probe"]
    assert trained.history[-1]["train_loss"] == pytest.approx(probe[-1], rel=1e-3)


def test_training_that_gains_warns_of_nothing():
    trained = tuned(max_epochs=6)  # a warning would be an error
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


@pytest.mark.parametrize("n", [21, 22, 26])
@pytest.mark.parametrize("sampling", [None, "undersample"])
def test_the_schedule_ends_with_the_last_step(n, sampling):
    seen = Rates()
    settings = {"max_epochs": 10, "sampling": sampling, "callbacks": [("seen", seen)]}
    tuned(map_rows(n), schedule="cosine", **settings)
    rates = [step[-1] for step in seen.steps]
    assert max(rates) == pytest.approx(1e-2)
    assert 0 < rates[-1] < 1e-3


def test_the_users_callbacks_see_the_last_phase_alone():
    class Epochs(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(len(net.history))

    for how, phase in (
        (tuned, "fine-tune"),
        (partial(tuned, **LAYERS), "fine-tune"),
        (frozen, "probe"),
        (partial(frozen, optimizer="adamw"), "head"),
    ):
        seen = []
        trained = how(callbacks=[("epochs", Epochs())])
        assert seen == [row["epoch"] for row in trained.history if row["phase"] == phase]


def test_a_piece_trains_one_epoch_without_a_schedule():
    piece = settings_of(schedule="cosine", max_epochs=9).for_a_piece(None)
    assert (piece.max_epochs, piece.schedule) == (1, None)
    seen = Rates()
    replaced = settings_of(callbacks=[("seen", seen)]).for_a_piece(None)
    trained = train(replaced, TrainingData(small_stages(), map_rows()))
    assert phases(trained) == ["probe", "fine-tune"]
    assert len(seen.values) == 1
    assert {step[-1] for step in seen.steps} == {1e-2}


def test_the_optimizer_goes_on_in_the_next_piece():
    first = train(settings_of().for_a_piece(None), TrainingData(small_stages(), map_rows()))
    state = copy.deepcopy(first.optimizer_state)
    steps = state[0]["step"]
    module = copy.deepcopy(first.net.module_)
    piece = settings_of().for_a_piece(first.optimizer_state)
    second = go_on(piece, module, map_rows(seed=7))
    assert phases(second) == ["fine-tune"]
    assert second.optimizer_state[0]["step"] == 2 * steps
    # The earlier one is as it was, should something go wrong.
    assert all(
        torch.equal(values[name], first.optimizer_state[number][name])
        for number, values in state.items()
        for name in values
    )


def wide_rows(n, seed, n_features=400):
    """Rows of many features, each of which depends a little on the class."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(CLASSES, n_features, generator=torch.Generator().manual_seed(0))
    y = torch.arange(n) % CLASSES
    return Rows(3 + 0.15 * means[y] + torch.randn(n, n_features, generator=generator), y)


def pieces(parts, begun=None, **settings):
    """Learn rows that come in pieces."""
    trained, state = begun, None
    for rows in parts:
        piece = settings_of(**settings).for_a_piece(state)
        head = None if trained is None else copy.deepcopy(trained.net.module_.head)
        trained = train(piece, TrainingData(TrainableStages(), rows, None, head))
        state = trained.optimizer_state
    return trained


def parts_of(rows, size):
    return [rows.drawn(part) for part in torch.arange(len(rows)).split(size)]


@pytest.mark.parametrize("size", [5, 45])
def test_pieces_of_the_convex_problem_teach_nearly_what_all_rows_do(size):
    rows, test = wide_rows(90, seed=2), wide_rows(120, seed=1)
    whole, few = (frozen(part, weight_decay=1e-3) for part in (rows, parts_of(rows, 6)[0]))
    trained = pieces(parts_of(rows, size), weight_decay=1e-3)
    assert phases(trained) == ["probe"]
    least, most = mean_loss(whole, test), mean_loss(few, test)
    assert mean_loss(trained, test) < least + 0.35 * (most - least)


@pytest.mark.parametrize("n", [6, 1])
def test_a_weight_of_four_in_pieces_is_as_four_rows(n):
    rows = wide_rows(90, seed=2)
    shares = []
    for times, weight in ((4, 1.0), (1, 4.0)):
        trained, settings = None, settings_of(weight_decay=1e-3)
        for start in (0, n, 2 * n):  # the first have a class less, or two
            part = rows.drawn(torch.arange(start, start + n)[rows.targets.y[:n] < 2].repeat(times))
            head = None if trained is None else trained.net.module_.head
            piece = settings.for_a_piece(None, weight)
            trained = train(piece, TrainingData(TrainableStages(), part, None, head))
        shares.append(scores(trained, rows).softmax(1))
    torch.testing.assert_close(*shares, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_first_piece_of_one_row_says_nothing_of_how_far_rows_are_apart(size, factor):
    shares = []
    for times in (1.0, factor):
        drawn = wide_rows(31, seed=2)
        rows = drawn.with_X(times * drawn.views(0))
        first, others = rows.drawn(torch.arange(1)), rows.drawn(torch.arange(1, 31))
        shares.append(scores(pieces([first, *parts_of(others, size)]), rows).softmax(1))
    torch.testing.assert_close(*shares, rtol=0, atol=1e-3)


def test_pieces_go_on_from_a_solution_for_all_rows_before():
    rows, test = wide_rows(90, seed=2), wide_rows(120, seed=1)
    begun = frozen(rows.drawn(torch.arange(45)), weight_decay=1e-3)
    trained = pieces(parts_of(rows.drawn(torch.arange(45, 90)), 9), begun, weight_decay=1e-3)
    assert mean_loss(trained, test) < mean_loss(begun, test)
    # One more row changes little of a solution for 90 rows, whatever its label.
    y = torch.tensor([2])
    moved = pieces([Rows(rows[:1][0], y)], trained, weight_decay=1e-3)
    before, after = (scores(each, test).softmax(1) for each in (trained, moved))
    assert (before - after).abs().mean() < 0.03


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "lr": 3e-3}], ids=str)
@pytest.mark.parametrize("known", [1, 2])
def test_classes_that_the_first_piece_lacks_are_learned(settings, known):
    rows, test = wide_rows(90, seed=2), wide_rows(120, seed=1)
    first = rows.drawn(torch.nonzero(rows.targets.y[:30] < known).flatten())
    trained = pieces([first, *parts_of(rows, 15)], weight_decay=1e-3, **settings)
    found = scores(trained, test).argmax(1)
    right = (found == test.targets.y).float()
    assert right[test.targets.y >= known].mean() > 0.6
    assert right.mean() > 0.6


def mean_loss(trained, rows):
    return nn.functional.cross_entropy(scores(trained, rows), rows.targets.y).item()


@pytest.mark.parametrize("in_pieces", [True, False])
def test_a_solved_head_goes_on_in_a_scale_that_the_steps_fit(in_pieces):
    test = wide_rows(120, seed=1)
    trained = begun = frozen(wide_rows(9, seed=2), weight_decay=1e-3)
    before, state = mean_loss(begun, test), None
    settings = settings_of(lr=3e-4, optimizer="adamw", max_epochs=1, schedule=None)
    for seed in range(3, 13):
        piece = settings.for_a_piece(state) if in_pieces else settings
        module = copy.deepcopy(trained.net.module_)
        trained = go_on(piece, module, wide_rows(30, seed))
        state = trained.optimizer_state
    assert mean_loss(trained, test) < 0.93 * before


@pytest.mark.parametrize("head_init", ["probe", "random"])
def test_the_convex_problem_goes_on_from_any_linear_head(head_init):
    rows = feature_rows()
    earlier = frozen(rows, optimizer="adamw", head_init=head_init, max_epochs=3)
    again = frozen(rows, begin_with=copy.deepcopy(earlier.net.module_), optimizer="lbfgs")
    anew = frozen(rows)
    assert phases(again) == ["probe"]
    # A constant for all classes is no part of the solution.
    shares = (scores(each, rows).softmax(1) for each in (again, anew))
    torch.testing.assert_close(*shares, rtol=0, atol=1e-3)


def test_training_goes_on_with_all_that_was_learned():
    earlier = tuned(max_epochs=3)
    again = go_on(settings_of(lr=0.0), copy.deepcopy(earlier.net.module_), map_rows())
    assert phases(again) == ["fine-tune"]
    assert torch.equal(scores(again, map_rows()), scores(earlier, map_rows()))


def test_the_solver_sees_every_fixed_view():
    rows = feature_rows()
    X, targets = rows[:]
    other = X + torch.randn(X.shape, generator=torch.Generator().manual_seed(9))
    both = frozen(Rows(FixedViews([X, other]), *targets))
    stacked = frozen(Rows(torch.cat([X, other]), targets.y.repeat(2), targets.weights.repeat(2)))
    torch.testing.assert_close(scores(both, rows), scores(stacked, rows), rtol=1e-3, atol=1e-3)
    assert phases(both) == ["probe"]


def test_views_that_are_new_each_epoch_are_no_convex_problem():
    X, targets = feature_rows()[:]
    asked = []

    def compute(view):
        asked.append(view)
        return X + view

    views = FreshViews(compute, len(X), bytes)
    trained = frozen(Rows(views, *targets), max_epochs=3)
    assert phases(trained) == ["probe", "head"]
    assert list(dict.fromkeys(asked)) == [0, 1, 2]
    assert asked.count(1) == asked.count(2) == 1


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("how", [frozen, tuned])
def test_for_the_solver_sampling_is_weights(sampling, how):
    X, y = maps() if how is tuned else feature_rows()[:]
    y = torch.tensor([0] * 16 + [1] * 7 + [2] * 3)
    y = y if how is frozen else y[torch.randperm(26, generator=torch.Generator().manual_seed(1))]
    own = 0.5 + torch.rand(26, generator=torch.Generator().manual_seed(2))
    weights = own / torch.bincount(y)[y]
    lr = 1e-9  # beyond the solver nothing moves
    sampled = how(Rows(X, y, own), sampling=sampling, lr=lr)
    weighed = how(Rows(X, y, weights / weights.mean()), lr=lr)
    rows = Rows(X, y)
    torch.testing.assert_close(scores(sampled, rows), scores(weighed, rows), rtol=1e-3, atol=1e-3)
    other = how(Rows(X, y, own), sampling=sampling, lr=lr, seed=9)
    torch.testing.assert_close(scores(sampled, rows), scores(other, rows))


def test_weights_have_a_mean_of_1_for_the_solver_in_every_fold():
    X, (y, *_) = feature_rows()[:]
    one, thousand = (frozen(Rows(X, y, torch.full((26,), weight))) for weight in (1.0, 1e3))
    assert torch.equal(scores(one, Rows(X)), scores(thousand, Rows(X)))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_rows_have_a_mean_weight_of_1_as_they_are_drawn(sampling, monkeypatch):
    found = []
    loss = TransferNet.get_loss

    def seen(net, scores, targets, *args, **kwargs):
        found.extend(targets.weights.tolist())
        return loss(net, scores, targets, *args, **kwargs)

    monkeypatch.setattr(TransferNet, "get_loss", seen)
    y = torch.tensor([0] * 20 + [1] * 4 + [2] * 2)
    weights = torch.tensor([0.5] * 20 + [2.0] * 4 + [4.0] * 2)
    tuned(Rows(maps()[0], y, weights), sampling=sampling, head_init="random", max_epochs=20)
    assert sum(found) / len(found) == pytest.approx(1, abs=0.15)


def test_oversampled_classes_get_equal_shares():
    y = torch.tensor([0] * 9 + [1] * 3 + [2] * 3)
    rows = Rows(torch.randn(15, 6, generator=torch.Generator().manual_seed(0)), y)
    trained = frozen(rows, sampling="oversample")
    shares = scores(trained, rows).softmax(1)
    repeated = torch.tensor([1.0] * 9 + [3.0] * 6)
    torch.testing.assert_close(
        (repeated[:, None] * shares).sum(0) / repeated.sum(),
        torch.full((3,), 1 / 3),
        atol=1e-3,
        rtol=0,
    )


def test_rows_by_index_are_those_of_a_copy():
    X, y = maps()
    which = torch.tensor([3, 1, 20, 7, 8, 9, 12, 25, 14])
    indexed = Rows(X, y[which], which=which)
    copied = Rows(X[which], y[which])
    for settings in ({}, {"head_init": "random"}, LAYERS):
        first, second = tuned(indexed, **settings), tuned(copied, **settings)
        assert first.history == second.history


def test_early_stopping_keeps_the_best_epoch():
    rows, validation = map_rows(), map_rows(n=12, seed=5)
    trained = tuned(
        rows,
        validation,
        head_init="random",
        early_stopping=True,
        n_iter_no_change=2,
        max_epochs=40,
        lr=0.1,
    )
    losses = [row["valid_loss"] for row in trained.history]
    assert len(losses) < 40
    ours = nn.functional.cross_entropy(scores(trained, validation), validation.targets.y)
    assert ours.item() == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"ema_decay": 0.5}], ids=str)
def test_early_stopping_keeps_the_head_that_no_epoch_bettered(settings):
    rows, validation = map_rows(), map_rows(n=12, seed=5)
    settings = {**settings, "early_stopping": True, "n_iter_no_change": 2}
    with pytest.warns(TrainingWarning, match="No epoch lowered the validation loss"):
        kept = tuned(rows, validation, **{**TOO_FAST, **settings, "max_epochs": 2, "lr": 2.0})
    assert same_values(values_of(kept.net.module_.stages), values_of(small_stages()))
    losses = {
        phase: min(row["valid_loss"] for row in kept.history if row["phase"] == phase)
        for phase in phases(kept)
    }
    assert losses[phases(kept)[0]] < losses["fine-tune"]
    assert mean_loss(kept, validation) == pytest.approx(losses[phases(kept)[0]], rel=1e-4)


def test_early_stopping_keeps_no_random_head():
    rows, validation = map_rows(), map_rows(n=12, seed=5)
    settings = {"early_stopping": True, "head_init": "random", "max_epochs": 2}
    trained = tuned(rows, validation, **{**TOO_FAST, **settings, "lr": 2.0})
    assert min(row["valid_loss"] for row in trained.history) == pytest.approx(
        mean_loss(trained, validation)
    )
    assert not same_values(values_of(trained.net.module_.stages), values_of(small_stages()))


def test_early_stopping_waits_for_epochs_that_get_worse_before_they_get_better():
    rows, validation = map_rows(), map_rows(n=12, seed=5)
    settings = {"early_stopping": True, "n_iter_no_change": 2, "max_epochs": 30}
    trained = tuned(rows, validation, **{**settings, "schedule": "cosine", "lr": 0.1})
    losses = [row["valid_loss"] for row in trained.history if row["phase"] == "fine-tune"]
    assert len(losses) > 2
    assert losses.index(min(losses)) == len(losses) - 3


def test_early_stopping_keeps_an_earlier_training_that_no_epoch_bettered():
    rows, validation = map_rows(), map_rows(n=12, seed=5)
    earlier = tuned(rows, validation, max_epochs=3)
    module = copy.deepcopy(earlier.net.module_)
    settings = settings_of(**{**TOO_FAST, "early_stopping": True})
    again = go_on(settings, module, rows, validation)
    assert mean_loss(again, validation) == pytest.approx(mean_loss(earlier, validation))
    assert again.history[0]["valid_loss"] > mean_loss(earlier, validation)


class Interrupt(Callback):
    def __init__(self, epoch=0):
        self.epoch = epoch

    def on_batch_end(self, net, training=None, **kwargs):
        if training and len(net.history) - 1 == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("how", [frozen, tuned])
@pytest.mark.parametrize("settings", [{}, LAYERS])
def test_an_interrupt_leaves_what_was_learned_and_a_warning(how, settings):
    rows = feature_rows() if how is frozen else map_rows()
    with pytest.warns(TrainingWarning, match="interrupted"):
        trained = how(max_epochs=3, callbacks=[("interrupt", Interrupt(1))], **settings)
    assert torch.isfinite(scores(trained, rows)).all()
    assert trained.net.interrupted_


@pytest.mark.parametrize("settings", [{}, LAYERS])
def test_an_interrupt_before_fine_tuning_leaves_the_stages_as_they_were(settings, monkeypatch):
    step = TransferNet.run_single_epoch

    def interrupted(self, *args, **kwargs):
        if len(self.history) == 2:
            self.interrupted_ = True
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(TransferNet, "run_single_epoch", interrupted)
    with pytest.warns(TrainingWarning, match="interrupted"):
        trained = tuned(**settings)
    assert len(phases(trained)) == 1
    assert same_values(values_of(trained.net.module_.stages), values_of(small_stages()))
    assert torch.isfinite(scores(trained, map_rows())).all()


def test_memory_that_runs_out_is_told(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(TransferNet, "infer", full)
    with pytest.raises(DeviceMemoryError, match=r"on cpu at batch_size=7\. Use a smaller"):
        tuned()


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_what_only_training_needs_is_let_go(ema_decay):
    piece = settings_of(ema_decay=ema_decay).for_a_piece(None)
    first = train(piece, TrainingData(small_stages(), map_rows()))
    piece = settings_of(ema_decay=ema_decay).for_a_piece(first.optimizer_state)
    trained = go_on(piece, first.net.module_, map_rows())
    assert trained.net.optimizer_ is None
    assert not trained.net.module_.training
    weights = sum(value.nbytes for value in trained.net.module_.state_dict().values())
    held = sum(tensor.nbytes for tensor in tensors_of(trained.net))
    assert held <= weights
    loaded = pickle.loads(pickle.dumps(trained.net))
    assert torch.equal(loaded.scores_of(map_rows()), scores(trained, map_rows()))


def tensors_of(net):
    """All tensors that a pickle of a net would hold."""
    found = {}

    class Finder(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, torch.Tensor):
                found[value.data_ptr()] = value
                return "tensor"
            return None

    Finder(io.BytesIO()).dump({k: v for k, v in vars(net).items() if k != "dataset"})
    return found.values()


@pytest.mark.parametrize("settings", [{}, LAYERS, {"ema_decay": 0.9, "dropout": 0.2}])
def test_the_seed_says_it_all(settings):
    first = tuned(**settings)
    torch.rand(3)
    again = tuned(**settings)
    assert first.history == again.history
    assert torch.equal(scores(first, map_rows()), scores(again, map_rows()))
    assert tuned(**settings, seed=4).history[-1] != first.history[-1]


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "plateau", None])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precisions_go_with_every_schedule(schedule, precision):
    trained = tuned(schedule=schedule, precision=precision, max_epochs=4)
    assert torch.isfinite(scores(trained, map_rows())).all()


def test_stages_train_even_if_the_head_makes_no_mistakes():
    X, y = maps()
    rows = Rows(X + 9 * y[:, None, None, None], y)
    trained = tuned(rows)
    assert phases(trained) == ["probe", "fine-tune"]
    assert not same_values(values_of(trained.net.module_.stages), values_of(small_stages()))


def test_cutmix_is_for_maps_alone():
    assert phases(tuned(cutmix=1.0)) == ["probe", "fine-tune"]
    assert phases(tuned(cutmix=1.0, **LAYERS)) == ["head", "fine-tune"]
    with pytest.raises(ParameterError, match="cutmix"):
        frozen(cutmix=1.0)


@pytest.mark.parametrize("settings", [{}, LAYERS])
def test_every_phase_has_a_bar_with_its_title(monkeypatch, settings):
    titles = []

    class Bar:
        def __init__(self, desc, **options):
            titles.append(desc)

        def set_postfix(self, shown, refresh):
            pass

        def update(self):
            pass

        def close(self):
            pass

    monkeypatch.setattr(callbacks, "tqdm", Bar)
    tuned(verbose=1, **settings)
    assert len(set(titles)) == len(titles) == 2
    titles.clear()
    tuned(verbose=0, **settings)
    assert titles == []

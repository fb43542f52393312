import pytest
import torch
from torch import nn

from sktransfer.activations.views import FixedViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import TrainingData
from sktransfer.training.first_head import FirstHead, first_head, untrained_features
from sktransfer.training.holding import held
from sktransfer.training.train import train
from tests.training.helpers import map_rows, maps, settings_of, small_stages, zero_linear

LEARNED = FirstHead(nn.Sequential(zero_linear()), learned=True, history=[])


def random_stages():
    stages = small_stages()
    stages.pretrained = False
    return stages


def features(stages, rows):
    return untrained_features(settings_of(), stages, rows)(0)


def hold(stages=None, rows=None, first=LEARNED, **settings):
    stages = small_stages() if stages is None else stages
    return held(settings_of(**settings), stages, map_rows() if rows is None else rows, first)


def test_rows_are_held_near_their_first_features():
    rows, strength = hold(feature_penalty=0.5)
    start = rows.targets.start
    torch.testing.assert_close(start, features(small_stages(), map_rows()))
    spread = (start - start.mean(0)).square().sum(1).mean().item()
    assert strength == pytest.approx(0.5 / spread, rel=1e-5)


def test_the_scale_of_features_has_no_meaning():
    class Larger(nn.Module):
        def forward(self, x):
            return 10 * x

    stages = dict(small_stages().named_children())
    depths = {"low": 2, "high": 1, "larger": 1}
    larger = TrainableStages([*stages.items(), ("larger", Larger())], depths=depths)
    assert hold(larger).strength == pytest.approx(hold().strength / 100)


def test_views_are_held_near_their_mean():
    rows = map_rows(n_views=3)
    views = [features(small_stages(), Rows(X, rows.targets.y)) for X in rows.views.known()]
    torch.testing.assert_close(hold(rows=rows).rows.targets.start, torch.stack(views).mean(0))


def test_features_of_the_first_head_are_not_computed_again(monkeypatch):
    data = TrainingData(small_stages(), map_rows())
    first = first_head(settings_of(), data, CheckpointFiles(None, str))
    assert isinstance(first.features, FixedViews)
    expected = hold().rows.targets.start
    monkeypatch.setattr("sktransfer.training.holding.untrained_features", None)
    torch.testing.assert_close(hold(first=first).rows.targets.start, expected)


@pytest.mark.parametrize(
    "case",
    [
        {"feature_penalty": 0.0},
        {"feature_penalty": 0},
        {"first": LEARNED._replace(learned=False)},
        {"stages": random_stages()},
        {"stages": TrainableStages(), "feature_penalty": 1.0},
        {"rows": Rows(torch.zeros(6, 2, 4, 4), torch.arange(6) % 3)},
    ],
    ids=["none", "none, an int", "random head", "random weights", "no stages", "equal rows"],
)
def test_nothing_is_held(case):
    rows, strength = hold(**case)
    assert strength == 0
    assert rows.targets.start is None


def test_what_is_given_holds_random_weights_too():
    assert hold(random_stages(), feature_penalty=0.1).strength > 0


def test_statistics_that_move_are_held_too():
    assert hold(small_stages(fixed_statistics=False)).strength > 0


@pytest.mark.parametrize("penalty", ["auto", 1.0])
def test_rows_that_are_equal_but_for_rounding_have_no_scale(penalty):
    X = torch.randn(1, 2, 4, 4).expand(16, 2, 4, 4)
    rows = Rows(X * (1 + 1e-7 * torch.randn(16, 1, 1, 1)), torch.arange(16) % 3)
    assert hold(rows=rows, feature_penalty=penalty).strength == 0


def test_a_later_piece_is_held_on_the_scale_of_the_first():
    data = TrainingData(small_stages(), map_rows())
    first = first_head(settings_of(), data, CheckpointFiles(None, str))
    usual = hold(first=first).strength
    X, y = maps()
    alike = Rows(X[:1] + 1e-3 * torch.randn(26, 2, 4, 4), y)
    assert hold(rows=alike, first=first._replace(features=None)).strength == usual
    other = hold(rows=alike).strength  # of a head without a scale
    assert other > 100 * usual


def test_rows_of_weight_0_do_not_count_in_the_spread():
    X, y = maps(n=24)
    weights = torch.ones(24)
    weights[12:] = 0
    half = hold(rows=Rows(X[:12], y[:12]))
    assert hold(rows=Rows(X, y, weights)).strength == pytest.approx(half.strength)


def movement(**settings):
    stages, rows = small_stages(), map_rows()
    before = features(small_stages(), rows)
    train(settings_of(lr=3e-3, max_epochs=5, **settings), TrainingData(stages, rows))
    return (features(stages, rows) - before).square().sum(1).mean().item()


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"precision": "bfloat16"}], ids=str)
def test_the_more_features_are_held_the_less_they_move(settings):
    free, little, much = (
        movement(feature_penalty=penalty, **settings) for penalty in (0.0, 0.1, 3.0)
    )
    assert much < 0.2 * free
    assert much < little < free


def test_pasted_features_are_held_too():
    # Less firmly: features of a map with a box of another one are no mixture of both.
    free, held_ = (movement(feature_penalty=penalty, cutmix=1.0) for penalty in (0.0, 3.0))
    assert held_ < 0.8 * free


def test_the_history_has_the_loss_of_the_labels_alone():
    stages, rows = small_stages(), map_rows()
    settings = settings_of(lr=1e-9, max_epochs=1, schedule=None, feature_penalty=1e6)
    probe, *_, tuned = train(settings, TrainingData(stages, rows)).history
    assert tuned["phase"] == "fine-tune"
    assert tuned["train_loss"] < 10
    assert probe["phase"] == "probe"

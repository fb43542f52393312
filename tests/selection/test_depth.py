import numpy as np
import pytest
import torch
from torch import nn

from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images
from sktransfer.selection import depth as module
from sktransfer.selection.depth import Cut, choose_depth
from sktransfer.selection.pictures import LabelledPictures
from tests.conftest import make_pictures, save_pictures
from tests.training.helpers import settings_of

PRESET = Preprocessing(16, 16, "bilinear", (0.5,) * 3, (0.25,) * 3)


class Pixels(nn.Module):
    def forward(self, x):
        return x.float() / 255 - 0.5


def stage(channels, seed):
    """A convolution that looks at each pixel by itself, and a pooling to eight by eight."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(*channels, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(8))


class Blind(nn.Module):
    """Features that are noise, as long as it is not trained."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x):
        means = x.mean((2, 3))
        return 10 * means @ self.weight + torch.sin(1e4 * means)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def cut_of(last):
    """A network of two stages that can train, the last of which is given."""
    links = [("pixels", Pixels()), ("first", stage((3, 4), 1)), ("last", last)]
    depths = {"first": 2, "last": 1}
    names = [name for name, _ in links]

    def frozen(depth):
        return FrozenNetwork(links[: len(links) - depth])

    def stages(depth):
        n_frozen = len(links) - depth
        return TrainableStages(
            links[n_frozen:], depths={name: depths[name] for name in names[n_frozen:]}
        )

    return Cut(frozen, stages)


def choose(X, y, last=None, *, weights=None, rows=None, groups=None, cache=None, **settings):
    cut = cut_of(last or Mean())
    pictures = LabelledPictures(
        as_images(X),
        y,
        np.ones(len(y)) if weights is None else weights,
        np.arange(len(y)) if rows is None else rows,
        groups,
    )
    one_pass = FrozenPass(cut.frozen(2), PRESET, EngineChoice("torch"), n_jobs=1, cache=cache)
    settings = {"max_epochs": 20, "lr": 0.02, "batch_size": 16, **settings}
    return choose_depth(pictures, one_pass, cut, 2, settings_of(**settings))


def pictures_of(n=60, n_classes=3):
    X, y = make_pictures(n, size=16, n_classes=n_classes)
    return X, y


def test_stages_train_where_features_tell_nothing():
    choice = choose(*pictures_of(), Blind(), lr=0.05)
    assert choice.depth == 1
    assert np.exp(choice.scores[0].mean) < 0.4
    assert choice.scores[1].gain > choice.scores[1].gain_error > 0
    assert np.exp(choice.scores[1].mean) > 0.6


def test_the_smallest_depth_stays_where_features_tell_all():
    choice = choose(*pictures_of())
    assert choice.depth == 0
    assert next(iter(choice.scores)) == 0
    assert choice.scores[0].gain == choice.scores[0].gain_error == 0


def test_no_deeper_one_is_tried_after_one_that_is_worse(monkeypatch):
    tried = []

    def likelihoods(_settings, stages, _rows, _groups, _learned, held_out):
        tried.append(len(stages))
        return np.full(len(held_out), -1.0 - len(stages))

    monkeypatch.setattr(module, "_tried", likelihoods)
    choice = choose(*pictures_of())
    assert choice.depth == 0
    assert set(tried) == set(choice.scores) == {0, 1}


def test_activations_of_the_choice_are_kept():
    X, y = pictures_of()
    rows = np.arange(0, 60, 2)
    for last in (Mean(), Blind()):
        choice = choose(X, y, last, rows=rows)
        expected, _ = FrozenPass(cut_of(last).frozen(choice.depth), PRESET).collect(
            as_images(X[rows])
        )
        assert list(choice.known.rows) == rows.tolist()
        torch.testing.assert_close(choice.known.values, expected)


def test_with_a_store_each_picture_is_decoded_once(tmp_path, decoded):
    X, y = pictures_of(24)
    paths = save_pictures(X, tmp_path)
    choose(paths, y, cache=tmp_path / "cache")
    assert sorted(decoded) == sorted(paths)


def test_trials_have_a_bound(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 30)
    choice = choose(*pictures_of(90))
    assert len(choice.known.rows) == 30


def test_only_the_given_rows_are_evidence():
    X, y = pictures_of()
    others = y.copy()
    others[1::2] = 0
    rows = np.arange(0, 60, 2)
    assert choose(X, y, rows=rows).scores == choose(X, others, rows=rows).scores


def test_the_same_seed_gives_the_same_evidence():
    X, y = pictures_of()
    assert choose(X, y, Blind()).scores == choose(X, y, Blind()).scores
    assert choose(X, y, Blind(), seed=1).scores != choose(X, y, Blind()).scores


def test_rows_of_a_group_are_not_judged_by_each_other():
    X, y = pictures_of(12)
    y = np.random.default_rng(0).permutation(y)  # only repeated pictures could be told apart
    X, y, groups = X.repeat(6, axis=0), y.repeat(6), np.arange(12).repeat(6)
    apart = choose(X, y, groups=groups, weight_decay=1e-6).scores[0].mean
    assert apart < choose(X, y, weight_decay=1e-6).scores[0].mean - 0.2


def test_weights_count():
    X, y = pictures_of()
    seen = y.copy()
    seen[30:] = np.random.default_rng(0).permutation(y[30:])
    weights = np.where(np.arange(60) < 30, 1.0, 1e-6)
    weighted = choose(X, seen, weights=weights).scores[0].mean
    assert weighted > choose(X, seen).scores[0].mean + 0.1


@pytest.mark.parametrize("y", [[0], [0, 1, 2], [0, 1] * 9 + [0]], ids=["one", "one of each", "19"])
def test_too_few_rows_are_no_evidence(y):
    X, _ = pictures_of(19)
    assert choose(X[: len(y)], np.array(y)) == module.DepthChoice(0)


def test_an_interrupted_trial_interrupts_the_choice(monkeypatch):
    def interrupted(self, *_, **__):
        self.interrupted_ = True
        raise KeyboardInterrupt

    monkeypatch.setattr("sktransfer.training.net.TransferNet.run_single_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        choose(*pictures_of())


def test_trials_are_those_of_the_fit_but_for_what_watches_it(monkeypatch):
    seen = []
    original = module.train

    def train(settings, data):
        seen.append(settings)
        return original(settings, data)

    monkeypatch.setattr(module, "train", train)
    choose(*pictures_of(21), max_epochs=2, loss="focal", optimizer="sgd", verbose=1, seed=5)
    for settings in seen:
        assert settings.loss.name == "focal"
        assert (settings.max_epochs, settings.optimizer, settings.seed) == (2, "sgd", 5)
        assert (settings.verbose, settings.callbacks, settings.checkpoint_dir) == (0, (), None)


def test_a_first_piece_is_judged_like_a_fit():
    settings = settings_of(max_epochs=3, schedule="plateau").for_a_piece(None).for_a_trial()
    assert (settings.piece, settings.max_epochs, settings.schedule) == (None, "auto", "cosine")

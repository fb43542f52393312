from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import DeviceMemoryError
from sktransfer.images import sources
from sktransfer.images.preprocessing import RESIZES, Preprocessing
from sktransfer.images.sources import as_images
from sktransfer.selection import resize as module
from sktransfer.selection.pictures import LabelledPictures
from sktransfer.selection.resize import choose_resize
from sktransfer.training.pace import decay
from sktransfer.training.task import SeveralLabels
from tests.conftest import save_pictures
from tests.training.helpers import settings_of

PRESET = Preprocessing(16, 16, "bilinear", (0.5,) * 3, (0.25,) * 3)


class Colours(nn.Module):
    """Mean of each channel."""

    def forward(self, x):
        return x.float().mean((2, 3)) / 255


def wide_pictures(n, seed=0, *, where="ends"):
    """Make pictures of 48 x 16 whose colour depends on the class, at the ends or in the middle."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.integers(0, 256, (n, 16, 48, 3)).astype(float)
    part = np.s_[:, :, :16] if where == "ends" else np.s_[:, :, 16:32]
    X[part] = 0.8 * X[part] + 0.2 * 255 * np.eye(3)[y][:, None, None, :]
    X += rng.normal(0, 6, (n, 1, 1, 3))
    return np.clip(X, 0, 255).astype(np.uint8), y


def choose(X, y, *, weights=None, rows=None, groups=None, used=True, network=None, **settings):
    network = network or FrozenNetwork([("colours", Colours())])
    pictures = LabelledPictures(
        as_images(X),
        y,
        np.ones(len(y)) if weights is None else weights,
        np.arange(len(y)) if rows is None else rows,
        groups,
    )
    return choose_resize(
        pictures,
        FrozenPass(network, PRESET, EngineChoice("torch"), n_jobs=1),
        TrainableStages(),
        settings_of(**settings),
        activations_are_used=used,
    )


@pytest.fixture
def reads(monkeypatch):
    """The rows that are read, in order, once for each time."""
    reads = []
    original = sources.ImageSource.read

    def read(source, row):
        reads.append(row if source.rows is None else source.rows[row])
        return original(source, row)

    monkeypatch.setattr(sources.ImageSource, "read", read)
    return reads


def test_the_whole_picture_is_seen_where_its_ends_tell_the_class():
    choice = choose(*wide_pictures(90))
    assert choice.resize in ("squash", "pad")
    assert list(choice.scores) == list(RESIZES)
    chosen = choice.scores[choice.resize]
    assert np.exp(chosen.mean) > 0.6
    assert chosen.gain > chosen.gain_error > 0
    assert np.exp(choice.scores["crop"].mean) < 0.45


def test_the_middle_is_seen_where_it_tells_the_class():
    choice = choose(*wide_pictures(90, where="middle"))
    assert choice.resize == "crop"
    assert np.exp(choice.scores["crop"].mean) > 0.6


@pytest.mark.parametrize("where", ["ends", "middle"])
def test_the_activations_of_the_choice_are_kept(where):
    X, y = wide_pictures(60, where=where)
    choice = choose(X, y)
    one_pass = FrozenPass(FrozenNetwork([("colours", Colours())]), PRESET.resized(choice.resize))
    expected, _ = one_pass.collect(as_images(X))
    assert list(choice.known.rows) == list(range(60))
    assert torch.allclose(choice.known.values, expected)


def test_a_bound_on_the_pictures_that_are_computed_in_addition(reads, monkeypatch):
    monkeypatch.setattr(module, "_EXTRA_PICTURES", 60)
    X, y = wide_pictures(100)
    choice = choose(X, y)
    # Thirty pictures in three ways: those in one of them are used by the fit.
    assert len(reads) == 90
    assert len(choice.known.rows) == len(set(reads)) == 30
    assert np.bincount(y[list(choice.known.rows)]).tolist() == [10, 10, 10]
    reads.clear()
    choose(X, y, used=False)
    assert len(reads) == 60


def test_square_pictures_are_not_padded(reads):
    X, y = wide_pictures(30)
    choice = choose(X[:, :, :16], y)
    assert list(choice.scores) == ["crop", "squash"]
    assert len(reads) == 60


def test_only_the_given_rows_are_evidence(reads):
    X, y = wide_pictures(60)
    rows = np.arange(0, 60, 2)
    choice = choose(X, y, rows=rows)
    assert set(reads) == set(rows)
    others = y.copy()
    others[1::2] = 0
    assert choose(X, others, rows=rows).scores == choice.scores
    assert list(choice.known.rows) == rows.tolist()


def test_weights_count():
    X, y = wide_pictures(60)
    seen = y.copy()
    # Half of the labels are random, and have hardly any weight.
    seen[30:] = np.random.default_rng(0).permutation(y[30:])
    weights = np.where(np.arange(60) < 30, 1.0, 1e-6)
    weighted = choose(X, seen, weights=weights).scores["squash"].mean
    assert weighted > choose(X, seen).scores["squash"].mean + 0.1


def test_rows_of_a_group_are_not_compared_with_each_other():
    X, y = wide_pictures(12, where="middle")
    X, y, groups = X.repeat(8, axis=0), y.repeat(8), np.arange(12).repeat(8)
    # Each picture eight times: without groups every way of seeing them seems nearly perfect.
    y = np.random.default_rng(0).permutation(np.arange(12) % 3).repeat(8)
    apart = choose(X, y, groups=groups).scores["crop"].mean
    assert apart < choose(X, y).scores["crop"].mean - 0.2


@pytest.mark.parametrize("y", [[0, 1, 2], [0]])
def test_too_few_rows_to_compare(y, reads):
    X, _ = wide_pictures(len(y))
    choice = choose(X, np.array(y))
    assert (choice.resize, choice.scores, choice.known) == ("crop", None, None)
    assert reads == []


def test_a_class_with_fewer_rows_than_folds():
    X, y = wide_pictures(45)
    y[y == 2] = 0
    y[44] = 2
    assert choose(X, y).resize in ("squash", "pad")


def test_several_labels():
    X, y = wide_pictures(60)
    several = np.eye(3, dtype=np.float32)[y]
    choice = choose(X, several, loss="binary_cross_entropy", task=SeveralLabels())
    assert choice.resize in ("squash", "pad")


def test_the_same_seed_gives_the_same_scores():
    X, y = wide_pictures(60)
    assert choose(X, y).scores == choose(X, y).scores
    assert choose(X, y, seed=1).scores != choose(X, y).scores


def test_features_of_the_stages_are_compared():
    """The pass may end before the stages that train."""
    X, y = wide_pictures(60)

    class Pixels(nn.Module):
        def forward(self, x):
            return x.float() / 255

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    network = FrozenNetwork([("pixels", Pixels())])
    pictures = LabelledPictures(as_images(X), y, np.ones(60), np.arange(60), None)
    stages = TrainableStages([("mean", Mean())], depths={"mean": 1})
    one_pass = FrozenPass(network, PRESET, EngineChoice("torch"))
    choice = choose_resize(
        pictures, one_pass, stages, settings_of(weight_decay=1e-4), activations_are_used=True
    )
    assert choice.known.values.shape == (60, 3, 16, 16)
    whole = choose(X, y, weight_decay=1e-4)
    for resize in RESIZES:
        assert choice.scores[resize].mean == pytest.approx(whole.scores[resize].mean, rel=0.1)


def test_memory_that_runs_out_is_told():
    class TooLarge(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError

    X, y = wide_pictures(12)
    pictures = LabelledPictures(as_images(X), y, np.ones(12), np.arange(12), None)
    one_pass = FrozenPass(FrozenNetwork([("colours", Colours())]), PRESET, EngineChoice("torch"))
    stages = TrainableStages([("large", TooLarge())], depths={"large": 1})
    settings = settings_of(batch_size=7)
    with pytest.raises(DeviceMemoryError, match=r"on cpu at batch_size=7\. Use a smaller"):
        choose_resize(pictures, one_pass, stages, settings, activations_are_used=True)


def test_damaged_file_is_named_by_its_row_of_X(tmp_path):
    X, y = wide_pictures(12)
    paths = save_pictures(X, tmp_path)
    Path(paths[7]).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"row 7 of X .*7\.png"):
        choose(paths, y, rows=np.arange(1, 12, 2))


@pytest.mark.parametrize(("n_classes", "n_rows"), [(30, 3), (30, 20)])
def test_of_many_classes_some_stand_for_all(monkeypatch, n_classes, n_rows):
    monkeypatch.setattr(module, "_EXTRA_PICTURES", 40)
    n = n_classes * n_rows
    X = np.random.default_rng(0).integers(0, 256, (n, 5, 8, 3)).astype(np.uint8)
    y = np.arange(n) % n_classes
    choice = choose(X, y, n_classes=n_classes)
    counts = np.bincount(y[list(choice.known.rows)])
    assert (counts > 0).sum() == 4
    assert counts.sum() <= 20
    assert set(counts) == {0, min(n_rows, 5)}


def test_repeated_pictures_are_one_observation():
    X, _ = wide_pictures(20, where="middle")
    y = np.random.default_rng(0).integers(0, 2, 20)
    items, once = list(X), choose(list(X), y)
    repeated = choose(items * 5, np.tile(y, 5))
    # Copies in other folds would give away the labels, which are random.
    for resize in RESIZES:
        assert repeated.scores[resize].mean < once.scores[resize].mean + 0.5
        assert repeated.scores[resize].gain_error >= 0.3 * once.scores[resize].gain_error


def test_the_head_is_penalised_as_that_of_the_fit(monkeypatch):
    penalties = []
    original = module.log_likelihoods

    def judged(settings, rows, folds):
        penalties.append(settings.weight_decay)
        return original(settings, rows, folds)

    class Pixels(nn.Module):
        def forward(self, x):
            return x.float() / 255

    monkeypatch.setattr(module, "log_likelihoods", judged)
    X, y = wide_pictures(12)
    choose(X, y)
    pictures = LabelledPictures(as_images(X), y, np.ones(12), np.arange(12), None)
    one_pass = FrozenPass(FrozenNetwork([("pixels", Pixels())]), PRESET, EngineChoice("torch"))
    stages = TrainableStages([("colours", Colours())], depths={"colours": 1})
    choose_resize(pictures, one_pass, stages, settings_of(), activations_are_used=True)
    assert penalties == [decay("auto")] * 3 + [decay("auto", before_stages=True)] * 3

"""`unfreeze_depth="auto"` with the other parameters; test_resize.py tests that of `resize`."""

import pickle
import re
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit
from skorch.callbacks import Callback, LRScheduler
from torch.optim.lr_scheduler import StepLR

from sktransfer import find_lr
from sktransfer.exceptions import (
    DeviceMemoryError,
    ParameterError,
    TrainingDivergedError,
    TrainingWarning,
)
from sktransfer.selection import cross_validation
from sktransfer.selection import depth as selection
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

make_auto = partial(
    make_classifier,
    backbone=LITE0,
    image_size=48,
    unfreeze_depth="auto",
    # So large a penalty that so few epochs of L-BFGS converge.
    max_epochs=2,
    weight_decay=0.1,
)


@pytest.fixture
def prefer(monkeypatch):
    """A function that makes trials favour a depth, by stages that train; it returns the trials."""

    def prefer(depth):
        trials = []

        def tried(settings, stages, rows, _groups, learned, held_out):
            found = max(stages.depths.values(), default=0)
            trials.append((found, settings, rows, learned, held_out))
            # Rows differ, as errors of measured gains do.
            return -1.0 - abs(found - depth) + 0.01 * np.sin(1 + held_out)

        monkeypatch.setattr(selection, "_tried", tried)
        return trials

    return prefer


def test_real_trials_choose_and_are_told(pictures):
    X, y = pictures
    auto = make_auto().fit(X, y)
    scores = auto.unfreeze_depth_scores_
    assert auto.unfreeze_depth_ in scores
    assert set(scores) in ({0, 1}, {0, 1, 2})
    for score in scores.values():
        assert set(score) == {"mean", "gain", "gain_error"}
    assert scores[0]["gain"] == 0
    again = make_auto().fit(X, y)
    assert again.unfreeze_depth_scores_ == scores
    np.testing.assert_array_equal(again.predict_proba(X), auto.predict_proba(X))


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("more", [{}, {"augment": "light", "n_views": 2}, {"resize": "auto"}])
def test_the_choice_is_the_fit_with_it(prefer, pictures, depth, more, monkeypatch):
    monkeypatch.setattr(cross_validation, "_FOLDS", 2)
    prefer(depth)
    X, y = pictures
    auto = make_auto(**more).fit(X, y)
    assert auto.unfreeze_depth_ == depth
    assert auto.unfreeze_depth == "auto"
    given = make_auto(**{**more, "unfreeze_depth": depth, "resize": auto.resize_}).fit(X, y)
    assert (given.unfreeze_depth_, given.unfreeze_depth_scores_) == (depth, None)
    np.testing.assert_allclose(
        auto.decision_function(X), given.decision_function(X), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("depth", ["all", 2, 0])
def test_a_given_depth_is_told_too(pictures, depth):
    given = make_auto(unfreeze_depth=depth).fit(*pictures)
    assert (given.unfreeze_depth_, given.unfreeze_depth_scores_) == (depth, None)


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("resize", ["crop", "auto"])
def test_no_picture_is_decoded_twice(
    prefer, picture_files, decoded, tmp_path, depth, cache, resize, monkeypatch
):
    monkeypatch.setattr(cross_validation, "_FOLDS", 2)
    prefer(depth)
    paths, y = picture_files
    cache = tmp_path / "cache" if cache else None
    make_auto(cache=cache, resize=resize).fit(paths, y)
    # Square pictures are seen in two ways.
    assert sorted(decoded) == sorted(paths * (2 if resize == "auto" else 1))


def test_nothing_is_left_behind(prefer, pictures, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prefer(1)
    make_auto().fit(*pictures)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_by_a_failure(pictures, monkeypatch, tmp_path):
    def failing(*_):
        assert list(Path(tmp_path).iterdir())  # the store of the trials
        raise RuntimeError("the trial failed")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(selection, "_tried", failing)
    classifier = make_auto()
    with pytest.raises(RuntimeError, match="the trial failed"):
        classifier.fit(*pictures)
    assert list(tmp_path.iterdir()) == []
    assert not hasattr(classifier, "classes_")


def test_a_search_judges_what_it_delivers(prefer, picture_files, decoded, tmp_path):
    prefer(1)
    paths, y = picture_files
    search = GridSearchCV(
        make_auto(cache=tmp_path / "cache"), {"unfreeze_depth": [0, "auto"]}, cv=2
    ).fit(np.array(paths), y)
    assert search.best_estimator_.unfreeze_depth in (0, "auto")
    # Once for each place at which the network is cut: for depth 0, the deepest trial, the choice.
    assert set(decoded) == set(paths)
    assert max(Counter(decoded).values()) <= 3


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_continued_fit_keeps_the_first_choice(prefer, pictures, in_pieces):
    X, y = pictures
    prefer(1)
    classifier = make_auto(warm_start=True)
    fit = classifier.partial_fit if in_pieces else classifier.fit
    fit(X, y)
    scores = classifier.unfreeze_depth_scores_
    trials = prefer(2)
    fit(X, y)
    assert not trials
    assert (classifier.unfreeze_depth_, classifier.unfreeze_depth_scores_) == (1, scores)
    classifier.set_params(unfreeze_depth=2)
    fit(X, y)
    assert (classifier.unfreeze_depth_, classifier.unfreeze_depth_scores_) == (2, None)
    classifier.set_params(unfreeze_depth=0)
    with pytest.raises(ParameterError, match="unfreeze_depth was 2 in it and is 0 now"):
        fit(X, y)


def test_without_warm_start_the_choice_is_made_anew(prefer, pictures):
    prefer(1)
    classifier = make_auto().fit(*pictures)
    prefer(0)
    assert classifier.fit(*pictures).unfreeze_depth_ == 0


def test_predictions_keep_the_choice(prefer, pictures):
    X, y = pictures
    prefer(1)
    classifier = make_auto().fit(X, y)
    before = classifier.predict_proba(X)
    copied = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(copied.predict_proba(X), before)
    assert copied.unfreeze_depth_scores_ == classifier.unfreeze_depth_scores_
    classifier.set_params(unfreeze_depth=0)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert clone(copied).unfreeze_depth == "auto"


def test_held_out_rows_and_rows_without_weight_are_no_evidence(prefer, pictures):
    (first, codes), (second, _) = pictures, make_pictures(24, seed=1)
    X, y = np.concatenate([first, second]), np.concatenate([codes, codes])
    weights = np.ones(48)
    weights[:20] = 0
    trials = prefer(0)
    auto = make_auto(validation_fraction=0.25).fit(X, y, sample_weight=weights)
    assert {len(rows) for _, _, rows, _, _ in trials} == {21}
    assert auto.history_[0]["valid_loss"] >= 0


def test_groups_stay_together(prefer, pictures):
    X, y = pictures
    groups = np.arange(24) // 4
    for split in (None, GroupShuffleSplit(1, test_size=0.1, random_state=0)):
        trials = prefer(0)
        make_auto(validation_fraction=split).fit(X, y, groups=groups)
        train = np.arange(24) if split is None else next(split.split(X, y, groups))[0]
        assert trials
        for *_, learned, held_out in trials:
            assert not set(groups[train][learned]) & set(groups[train][held_out])


def test_groups_are_checked(pictures):
    X, y = pictures
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_auto().fit(X, y, groups=[0, 1])
    with pytest.raises(ParameterError, match=r"validation_fraction=0\.2 holds out rows one by one"):
        make_auto(validation_fraction=0.2).fit(X, y, groups=np.arange(24))


@pytest.mark.parametrize("n", [2, 19])
def test_too_few_rows_give_the_head_alone(pictures, n):
    X, y = pictures
    auto = make_auto().fit(X[:n], y[:n])
    assert (auto.unfreeze_depth_, auto.unfreeze_depth_scores_) == (0, None)


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": (4,)},
        {"dropout": 0.2},
        {"mixup": 0.2},
        {"loss": "focal", "label_smoothing": 0.1},
        {"class_weight": "balanced", "sampling": "oversample"},
        {"head_init": "random", "optimizer": "sgd"},
        {"ema_decay": 0.5},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "engine": "torch"},
        {"early_stopping": True, "validation_fraction": 0.1},
        {"calibrate": "temperature", "validation_fraction": 0.1},
        {"batch_norm": "train"},
        {"pooling": "max"},
        {"verbose": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.TrainingWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_other_parameters(pictures, parameters):
    X, y = pictures
    auto = make_auto(**parameters).fit(X, y)
    assert auto.unfreeze_depth_ in auto.unfreeze_depth_scores_
    assert auto.predict_proba(X).shape == (24, 2)


@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.ForgettingWarning")
def test_several_labels_and_a_teacher(pictures):
    X, y = pictures
    labels = np.column_stack([y, 1 - y])
    auto = make_auto(loss="binary_cross_entropy").fit(X, labels)
    assert auto.unfreeze_depth_ in auto.unfreeze_depth_scores_
    teacher = make_auto(unfreeze_depth=0).fit(X, y)
    student = make_auto(distill_from=teacher).fit(X, y)
    assert student.unfreeze_depth_ in student.unfreeze_depth_scores_


def test_checkpoints_continue_the_fit_that_was_chosen(prefer, pictures, tmp_path):
    X, y = pictures
    trials = prefer(1)

    class Stop(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == 3:
                raise RuntimeError("killed")

    usual = {"checkpoint_dir": tmp_path / "kept", "max_epochs": 4}
    with pytest.raises(RuntimeError, match="killed"):
        make_auto(**usual, callbacks=[Stop()]).fit(X, y)
    assert {settings.for_a_trial().checkpoint_dir for _, settings, *_ in trials} == {None}
    continued = make_auto(**usual).fit(X, y)
    whole = make_auto(max_epochs=4).fit(X, y)
    np.testing.assert_array_equal(continued.predict_proba(X), whole.predict_proba(X))


def test_networks_of_one_stage_have_two_candidates(pictures):
    auto = make_auto(pooling="avg", backbone="squeezenet1_1", weights=None)
    auto.fit(*pictures)
    assert max(auto.unfreeze_depth_scores_) <= 2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"cutmix": 1.0}, ["cutmix=1.0", "'auto', which may choose 0", "unfreeze_depth=1"]),
        ({"gradual_unfreezing": True}, ["gradual_unfreezing=True", "'auto', which may choose 0."]),
        ({"gradual_unfreezing": [0]}, ["gradual_unfreezing=[0]", "'auto', which may choose 0."]),
        ({"optimizer": "lbfgs"}, ["optimizer='lbfgs'", "unfreeze_depth='auto'"]),
        ({"callbacks": [LRScheduler(StepLR, step_size=1)], "schedule": None}, ["LRScheduler"]),
        ({"unfreeze_depth": "deep"}, ["unfreeze_depth", "deep"]),
    ],
    # Not the values, some of which show an address in memory.
    ids=lambda given: " ".join(given),
)
def test_what_can_not_be_used_with_it(pictures, parameters, words):
    with pytest.raises(ValueError, match=".*".join(map(re.escape, words))):
        make_auto(**parameters).fit(*pictures)


@pytest.mark.parametrize("error", [DeviceMemoryError, TrainingDivergedError])
def test_a_depth_that_can_not_train_is_left_out(pictures, monkeypatch, error):
    original = selection.train

    def train(settings, data):
        if len(data.stages):
            raise error("this depth can't train.")
        return original(settings, data)

    monkeypatch.setattr(selection, "train", train)
    with pytest.warns(TrainingWarning, match="leaves out depth 1 and more, .* can't train"):
        auto = make_auto().fit(*pictures)
    assert auto.unfreeze_depth_ == 0
    assert list(auto.unfreeze_depth_scores_) == [0]


def test_trials_stop_early_as_the_fit_does(monkeypatch):
    lengths = []
    original = selection.train

    def train(settings, data):
        lengths.append(len(data.rows) + len(data.validation))
        return original(settings, data)

    monkeypatch.setattr(selection, "train", train)
    X, y = np.concatenate([make_pictures(24, seed=seed)[0] for seed in (0, 1)]), np.arange(48) % 2
    auto = make_auto(early_stopping=True, validation_fraction=0.25, max_epochs=20, lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no epoch was better, and others of so high a rate
        auto.fit(X, y, groups=None)
    assert set(lengths) == {24}  # two thirds of 36


def test_trials_leave_the_filters_of_warnings_alone(pictures, monkeypatch):
    seen = []
    original = selection.train

    def train(settings, data):
        seen.append(list(warnings.filters))
        return original(settings, data)

    monkeypatch.setattr(selection, "train", train)
    before = list(warnings.filters)
    make_auto().fit(*pictures)
    assert seen
    assert all(filters == before for filters in seen)


def test_a_rate_is_found_for_a_known_depth(pictures):
    with pytest.raises(ParameterError, match="unfreeze_depth='auto'"):
        find_lr(make_auto(), *pictures)

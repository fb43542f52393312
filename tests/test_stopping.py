"""How training ends early, continues and is resumed."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupShuffleSplit,
    PredefinedSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
    learning_curve,
)
from skorch.callbacks import Callback

from sktransfer import load_clipart
from sktransfer.estimators import fit_model as fitting
from sktransfer.estimators.fitted import OptimizerState
from sktransfer.exceptions import ParameterError, TrainingDivergedError, TrainingWarning
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

# A classifier whose random head is trained in epochs, not by L-BFGS.
learner = partial(
    make_classifier,
    backbone=LITE0,
    image_size=64,
    hidden_layer_sizes=(16,),
    lr=3e-3,
    max_epochs=4,
    batch_size=8,
)

# A classifier with an unfrozen stage, from random weights.
tuner = partial(
    learner,
    backbone="mnasnet0_5",
    image_size=32,
    hidden_layer_sizes=(),
    unfreeze_depth=1,
    head_init="random",
)


def noisy(n=24, seed=0, noise=0.85):
    X, y = make_pictures(n, seed=seed)
    grain = np.random.default_rng(seed + 10).integers(0, 256, X.shape)
    return ((1 - noise) * X + noise * grain).astype(np.uint8), y


X, Y = noisy()
TEST, TEST_Y = noisy(12, seed=1)


@pytest.fixture
def seen(monkeypatch):
    """Targets of the training rows and the validation rows."""
    found = []
    train = fitting.train

    def spy(settings, data):
        found.append((data.rows, data.validation))
        return train(settings, data)

    monkeypatch.setattr(fitting, "train", spy)
    return found


class At(Callback):
    """Raise an error once, in a given epoch, counted from 1."""

    def __init__(self, epoch, error, moment="batch"):
        self.epoch, self.error, self.moment, self.done = epoch, error, moment, False

    def _now(self, net, moment):
        if moment == self.moment and len(net.history) == self.epoch and not self.done:
            self.done = True
            raise self.error

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self._now(net, "batch")

    def on_epoch_end(self, net, **kwargs):
        self._now(net, "epoch")


# Early stopping and validation data.


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_the_best_epoch_is_kept(ema_decay):
    class Keep(Callback):
        def __init__(self):
            self.probabilities = []

        def on_epoch_end(self, net, **kwargs):
            scores = net.scores_of(net.train_split(None)[1])
            self.probabilities.append(scores.softmax(1).numpy())

    keep = Keep()
    classifier = learner(
        early_stopping=True,
        n_iter_no_change=3,
        max_epochs=20,
        lr=1e-2,
        schedule=None,
        callbacks=[keep],
        ema_decay=ema_decay,
    ).fit(X, Y, validation_data=(TEST, TEST_Y))
    losses = [row["valid_loss"] for row in classifier.history_]
    best = int(np.argmin(losses))
    assert len(losses) - 1 - best in (2, 3)
    assert len(losses) < 20
    got = classifier.predict_proba(TEST)
    assert_allclose(got, keep.probabilities[best], rtol=1e-3, atol=1e-5)
    assert not np.allclose(got, keep.probabilities[-1], rtol=1e-2)


def test_without_early_stopping_the_last_epoch_is_kept():
    classifier = learner(max_epochs=6, lr=3e-2).fit(X, Y, validation_data=(TEST, TEST_Y))
    assert classifier.n_iter_ == 6
    picked = classifier.predict_proba(TEST)[np.arange(12), TEST_Y]
    assert_allclose(-np.log(picked).mean(), classifier.history_[-1]["valid_loss"], rtol=1e-3)


def test_validation_data_is_not_trained_on(seen):
    with_data = learner().fit(X, Y, validation_data=(TEST, TEST_Y))
    without = learner().fit(X, Y)
    assert_array_equal(with_data.predict_proba(TEST), without.predict_proba(TEST))
    assert [(len(rows), v and len(v)) for rows, v in seen] == [(24, 12), (24, None)]
    assert with_data.history_[-1]["valid_score"] == with_data.score(TEST, TEST_Y)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((TEST,), "a pair"),
        (TEST, "a pair"),
        (5, "a pair"),
        ((TEST, TEST_Y[:-1]), "inconsistent numbers of samples"),
        ((TEST, TEST_Y + 1), r"y holds \[2\].*Leave these rows out"),
    ],
)
def test_bad_validation_data_is_told(data, told):
    with pytest.raises(ValueError, match=f"validation_data .*{told}"):
        learner().fit(X, Y, validation_data=data)


def test_a_splitter_gets_the_groups(seen):
    groups = np.arange(24) // 4
    splitter = GroupShuffleSplit(1, test_size=0.3, random_state=0)
    learner(validation_fraction=splitter, max_epochs=1).fit(X, Y, groups=groups)
    (train, held_out), *_ = splitter.split(X, Y, groups)
    rows, validation = seen[0]
    assert rows.which.tolist() == train.tolist()
    assert validation.which.tolist() == held_out.tolist()
    assert not set(groups[rows.which]) & set(groups[validation.which])


@pytest.mark.parametrize("augment", [None, "light"])
def test_a_splitter_says_which_rows(seen, augment):
    fold = np.where(np.arange(24) < 6, 0, -1)
    classifier = learner(validation_fraction=PredefinedSplit(fold), augment=augment, max_epochs=2)
    classifier.fit(X, Y)
    rows, validation = seen[0]
    assert rows.targets.y.tolist() == Y[6:].tolist()
    assert validation.targets.y.tolist() == Y[:6].tolist()
    score = classifier.score(X[:6], Y[:6])
    assert classifier.history_[-1]["valid_score"] == pytest.approx(score)


def test_a_splitter_that_holds_out_a_class_is_told():
    splitter = PredefinedSplit(np.where(Y == 1, 0, -1))
    with pytest.raises(ParameterError, match=r"holds out all rows of the classes \[1\]"):
        learner(validation_fraction=splitter).fit(X, Y)


def test_rows_of_weight_0_are_no_rows_to_train_on():
    splitter = PredefinedSplit(np.where(np.arange(24) < 6, 0, -1))
    weights = np.where((np.arange(24) >= 6) & (Y == 1), 0.0, 1.0)
    with pytest.raises(ParameterError, match=r"holds out all rows of the classes \[1\]"):
        learner(validation_fraction=splitter).fit(X, Y, sample_weight=weights)


def test_rows_of_weight_0_alone_validate_nothing():
    splitter = PredefinedSplit(np.where(np.arange(24) < 6, 0, -1))
    weights = np.where(np.arange(24) < 6, 0.0, 1.0)
    with pytest.raises(ParameterError, match="holds out only rows of weight 0"):
        learner(validation_fraction=splitter).fit(X, Y, sample_weight=weights)


def test_groups_must_be_one_a_row():
    with pytest.raises(ValueError, match="inconsistent"):
        learner(validation_fraction=GroupShuffleSplit(1)).fit(X, Y, groups=[1, 2])


# partial_fit.


def test_pieces_are_learned():
    many, y = make_pictures(60, n_classes=3)
    test, test_y = make_pictures(18, n_classes=3, seed=2)
    names = np.array(["a", "b", "c"])
    classifier = learner(lr=1e-2)
    scores = []
    for start in [*range(0, 60, 12)] * 3:
        rows = slice(start, start + 12)
        assert classifier.partial_fit(many[rows], names[y[rows]], classes=names) is classifier
        scores.append(classifier.score(test, names[test_y]))
    assert classifier.n_iter_ == len(classifier.history_) == 15
    assert scores[-1] > 0.9
    losses = [row["train_loss"] for row in classifier.history_]
    assert losses[-1] < losses[0] / 2


def test_an_incremental_learning_curve_rises_as_the_ordinary_one(tmp_path):
    paths, labels = load_clipart(return_X_y=True)
    classifier = make_classifier(backbone=LITE0, image_size=64, engine="torch", cache=tmp_path)
    curve = partial(
        learning_curve,
        *(classifier, paths[::2], labels[::2]),
        cv=StratifiedShuffleSplit(1, test_size=0.4, random_state=0),
        train_sizes=[0.2, 0.5, 1.0],
        shuffle=True,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No row of the classes", TrainingWarning)
        ordinary = curve()[2].mean(axis=1)
    incremental = curve(exploit_incremental_learning=True)[2].mean(axis=1)
    assert ordinary[-1] > ordinary[0] + 0.1
    assert incremental[-1] > ordinary[-1] - 0.08
    assert incremental[-1] - incremental[0] > (ordinary[-1] - ordinary[0]) / 2


def test_pieces_move_the_default_classifier():
    many, y = noisy(60, noise=0.7)
    classifier = make_classifier(backbone=LITE0, image_size=64, lr=3e-2).partial_fit(
        many[:10], y[:10]
    )
    before = classifier.predict_proba(many)[np.arange(60), y].mean()
    for start in range(10, 60, 10):
        classifier.partial_fit(many[start : start + 10], y[start : start + 10])
    assert classifier.predict_proba(many)[np.arange(60), y].mean() > before + 0.02


def test_the_optimizer_remembers_from_piece_to_piece():
    def after(forgets):
        classifier = learner(optimizer="sgd", lr=1e-2)
        for _ in range(4):
            classifier.partial_fit(X, Y)
            if forgets:
                nothing = OptimizerState("sgd", 0, None)
                classifier._model = replace(classifier._model, optimizer_state=nothing)
        return classifier.history_[-1]["train_loss"]

    assert after(forgets=False) < after(forgets=True)  # momentum is kept between the calls


@pytest.mark.parametrize("optimizers", [("sgd", "adam"), ("adam", "sgd"), ("auto", "sgd")])
def test_the_optimizer_may_change_between_pieces(optimizers):
    classifier = learner()
    for optimizer in (*optimizers, *optimizers):
        classifier.set_params(optimizer=optimizer).partial_fit(X, Y)
    assert classifier.n_iter_ == 4
    assert np.isfinite(classifier.predict_proba(TEST)).all()


@pytest.mark.parametrize("extra", [{}, {"tta": 2}, {"dropout": 0.5, "mc_dropout": 3}], ids=str)
def test_a_class_seen_later_is_an_error_that_changes_nothing(extra):
    classifier = learner(**extra).partial_fit(X, Y)
    before = classifier.predict_proba(TEST)
    with pytest.raises(ValueError, match=r"y holds \[2\].*classes seen first: \[0, 1\]"):
        classifier.partial_fit(X, np.where(np.arange(24) == 3, 2, Y))
    with pytest.raises(ValueError, match=r"classes=\[0, 1, 2\] contradict.*\[0, 1\]"):
        classifier.partial_fit(X, Y, classes=[0, 1, 2])
    classifier.set_params(precision="bfloat16", engine="torch")
    with pytest.raises(ValueError, match="inconsistent"):
        classifier.partial_fit(X, Y[:-1])
    assert_array_equal(classifier.predict_proba(TEST), before)
    assert classifier.partial_fit(X, Y).n_iter_ == 2


def test_classes_may_be_named_before_they_are_seen():
    classifier = learner(lr=1e-2).partial_fit(X[Y == 0], Y[Y == 0], classes=[1, 0, 7])
    assert_array_equal(classifier.classes_, [0, 1, 7])
    assert classifier.predict_proba(TEST).shape == (12, 3)
    classifier.partial_fit(X, np.where(np.arange(24) % 3, 7, Y))
    with pytest.raises(ValueError, match=r"y holds \[5\].*\[1, 7\]"):
        learner().partial_fit(X, np.where(Y, 5, 1), classes=[1, 7])
    with pytest.raises(ValueError, match="one class only"):
        learner().partial_fit(X[Y == 0], Y[Y == 0])
    column = learner().partial_fit
    with pytest.warns(UserWarning, match="column-vector"):
        assert len(column(X, Y[:, None], classes=[0, 1, 2]).classes_) == 3


def test_pieces_are_the_same_for_the_same_seed():
    def fitted():
        classifier = tuner(augment="light", dropout=0.2, mixup=0.2)
        for rows in (slice(0, 12), slice(12, 24)):
            classifier.partial_fit(X[rows], Y[rows])
        return classifier.predict_proba(TEST)

    assert_array_equal(fitted(), fitted())


def test_pieces_go_on_after_fit():
    classifier = learner(max_epochs=3).fit(X, Y)
    before = classifier.predict_proba(TEST)
    classifier.partial_fit(X, Y)
    assert classifier.n_iter_ == 4
    assert not np.array_equal(classifier.predict_proba(TEST), before)
    assert np.abs(classifier.predict_proba(TEST) - before).max() < 0.3


# Warm starts.


@pytest.mark.parametrize("make", [learner, tuner])
def test_a_warm_start_goes_on(make):
    once = make().fit(X, Y)
    history = once.history_
    warm = make(warm_start=True).fit(X, Y)
    assert_array_equal(warm.predict_proba(TEST), once.predict_proba(TEST))
    warm.fit(X, Y)
    assert warm.history_[:4] == history
    assert warm.n_iter_ == 8
    losses = [row["train_loss"] for row in warm.history_]
    assert np.mean(losses[4:]) < np.mean(losses[:4])
    cold = make(warm_start=False).fit(X, Y).fit(X, Y)
    assert cold.history_ == history


def test_a_warm_start_of_the_convex_problem_is_there_at_once():
    parameters = {"hidden_layer_sizes": (), "warm_start": True, "max_epochs": 30}
    classifier = learner(**parameters).fit(X, Y)
    n_epochs = classifier.n_iter_
    expected = classifier.predict_proba(TEST)
    classifier.fit(X, Y)
    assert classifier.n_iter_ - n_epochs < n_epochs
    assert_allclose(classifier.predict_proba(TEST), expected, atol=1e-3)


def test_a_warm_start_from_descent_to_the_convex_problem():
    parameters = {"hidden_layer_sizes": (), "warm_start": True, "max_epochs": 10}
    classifier = learner(optimizer="adamw", head_init="random", **parameters).fit(X, Y)
    classifier.set_params(optimizer="auto").fit(X, Y)
    expected = learner(**parameters).fit(X, Y).predict_proba(TEST)
    assert_allclose(classifier.predict_proba(TEST), expected, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "value", "was"),
    [
        ("unfreeze_depth", 0, 1),
        ("hidden_layer_sizes", (4,), r"\(\)"),
        ("backbone", "efficientnet_lite0", "'mnasnet0_5'"),
        ("pooling", "max", "'native'"),
        ("image_size", 48, 32),
        ("dropout", 0.5, 0.0),
        ("batch_norm", "train", "'auto'"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_what_a_warm_start_cannot_change(fitted_tuner, method, name, value, was):
    classifier = clone(fitted_tuner)
    vars(classifier).update(vars(fitted_tuner))
    before = classifier.predict_proba(TEST)
    classifier.set_params(warm_start=True, **{name: value})
    with pytest.raises(ParameterError, match=rf"{name} was {was} in it and is"):
        getattr(classifier, method)(X, Y)
    assert_array_equal(classifier.predict_proba(TEST), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("depth", [2, "all"])
def test_a_warm_start_may_unfreeze_more(method, depth):
    kept = {"hidden_layer_sizes": (), "unfreeze_depth": 1, "head_init": "random"}
    kept |= {"warm_start": True, "max_epochs": 1}  # BatchNorm's statistics stay pretrained, too
    classifier = learner(**kept)
    getattr(classifier, method)(X, Y)
    before = classifier.predict_proba(TEST)
    # At so low a rate scores stay the same if, and only if, the trained weights were kept.
    getattr(classifier.set_params(unfreeze_depth=depth, lr=1e-9), method)(X, Y)
    assert len(list(classifier.net_.module_.stages.children())) > 1
    assert_allclose(classifier.predict_proba(TEST), before, atol=1e-3)


@pytest.mark.parametrize("depth", ["most", None, -1])
def test_a_depth_that_is_none_is_told_in_a_warm_start_too(fitted_tuner, depth):
    classifier = clone(fitted_tuner)
    vars(classifier).update(vars(fitted_tuner))
    with pytest.raises(ValueError, match="unfreeze_depth"):
        classifier.set_params(warm_start=True, unfreeze_depth=depth).fit(X, Y)


@pytest.fixture(scope="module")
def fitted_tuner():
    return tuner(max_epochs=1).fit(X, Y)


@pytest.mark.parametrize("random_state", [0, None])
def test_a_warm_start_validates_on_the_same_rows(seen, random_state):
    classifier = learner(warm_start=True, validation_fraction=0.25, max_epochs=1)
    classifier.set_params(random_state=random_state)
    for _ in range(3):
        classifier.fit(X, Y)
    splits = [(rows.which.tolist(), held_out.which.tolist()) for rows, held_out in seen]
    assert splits == [splits[0]] * 3
    assert len(splits[0][1]) == 6


def test_a_warm_start_knows_the_classes():
    classifier = learner(warm_start=True, max_epochs=1).fit(X, Y)
    before = classifier.predict_proba(TEST)
    with pytest.raises(ValueError, match=r"y holds \[2\].*\[0, 1\]"):
        classifier.fit(X, Y + 1)
    assert_array_equal(classifier.predict_proba(TEST), before)
    with pytest.warns(TrainingWarning, match=r"No row of the classes \[1\]"):
        classifier.fit(X, np.zeros(24, int))
    assert_array_equal(classifier.classes_, [0, 1])


def test_a_warm_start_that_diverges_leaves_the_earlier_fit():
    classifier = tuner(warm_start=True, max_epochs=2, loss="focal").fit(X, Y)
    before, history = classifier.predict_proba(TEST), list(classifier.history_)
    classifier.set_params(lr=1e30, optimizer="sgd")
    with pytest.raises(TrainingDivergedError):
        classifier.fit(X, Y)
    assert_array_equal(classifier.predict_proba(TEST), before)
    assert classifier.history_ == history


# Ctrl-C.


@pytest.mark.parametrize("make", [learner, tuner])
@pytest.mark.parametrize("epoch", [1, 3])
def test_what_was_learned_before_ctrl_c_is_kept(make, epoch):
    stop = At(epoch, KeyboardInterrupt())
    with pytest.warns(TrainingWarning, match=f"interrupted after {epoch - 1} whole epochs"):
        classifier = make(callbacks=[stop], ema_decay=0.5).fit(X, Y)
    assert classifier.n_iter_ == len(classifier.history_) == epoch - 1
    probabilities = classifier.predict_proba(TEST)
    assert np.isfinite(probabilities).all()
    whole = make(ema_decay=0.5).fit(X, Y)
    assert whole.history_[: epoch - 1] == classifier.history_[: epoch - 1]
    assert not np.array_equal(whole.predict_proba(TEST), probabilities)


def test_ctrl_c_in_the_convex_problem():
    stop = At(2, KeyboardInterrupt())
    parameters = {"hidden_layer_sizes": (), "max_epochs": 10, "callbacks": [stop]}
    with pytest.warns(TrainingWarning, match="interrupted after 1 whole epochs"):
        classifier = learner(**parameters).fit(X, Y)
    assert np.isfinite(classifier.predict_proba(TEST)).all()


def test_ctrl_c_keeps_the_best_epoch_of_early_stopping():
    stop = At(3, KeyboardInterrupt())
    given = {"early_stopping": True, "validation_fraction": 0.25}
    with pytest.warns(TrainingWarning):
        classifier = learner(callbacks=[stop], **given).fit(X, Y)
    assert np.isfinite(classifier.predict_proba(TEST)).all()
    assert classifier.n_iter_ == 2


def test_a_callback_that_stops_between_epochs_is_no_interruption():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = learner(callbacks=[At(2, KeyboardInterrupt(), "epoch")]).fit(X, Y)
    assert classifier.n_iter_ == 2


def test_another_error_leaves_no_classifier():
    classifier = learner(callbacks=[At(2, OSError("a full disk"))])
    with pytest.raises(OSError, match="a full disk"):
        classifier.fit(X, Y)
    with pytest.raises(NotFittedError):
        classifier.predict(TEST)


# Callbacks.


class Count(Callback):
    def __init__(self):
        self.events = []

    def on_train_begin(self, net, **kwargs):
        self.events.append("begin")

    def on_epoch_end(self, net, **kwargs):
        self.events.append(len(net.history))

    def on_train_end(self, net, **kwargs):
        self.events.append("end")


@pytest.mark.parametrize("make", [learner, tuner, lambda **p: tuner(**{"head_init": "probe", **p})])
def test_callbacks_are_told_of_the_last_phase(make):
    count = Count()
    classifier = make(callbacks=[count], max_epochs=3).fit(X, Y)
    assert count.events == ["begin", 1, 2, 3, "end"]
    assert classifier.get_params()["callbacks"] == [count]
    again = make(max_epochs=3).fit(X, Y)
    assert_array_equal(again.predict_proba(TEST), classifier.predict_proba(TEST))


def test_callbacks_are_told_of_the_convex_problem():
    count = Count()
    classifier = learner(hidden_layer_sizes=(), max_epochs=20, callbacks=(count,)).fit(X, Y)
    assert count.events == ["begin", *range(1, classifier.n_iter_ + 1), "end"]


def test_callbacks_by_name():
    count = Count()
    learner(callbacks=[("counting", count)], max_epochs=1).fit(X, Y)
    assert count.events == ["begin", 1, "end"]


# Checkpoints.


class KilledError(Exception):
    pass


RESUMED = [
    (learner, {}),
    (learner, {"schedule": "onecycle", "ema_decay": 0.5, "dropout": 0.3}),
    (learner, {"schedule": "plateau", "early_stopping": True, "validation_fraction": 0.25}),
    (learner, {"sampling": "balanced", "mixup": 0.2, "optimizer": "sgd"}),
    (learner, {"augment": "light"}),
    (learner, {"augment": "light", "n_views": 2}),
    (tuner, {}),
    (tuner, {"sampling": "oversample"}),
    (tuner, {"augment": "light", "gradual_unfreezing": [1]}),
    (tuner, {"head_init": "probe"}),
    (tuner, {"hidden_layer_sizes": (8,), "head_init": "probe", "max_epochs": 3}),
    (tuner, {"batch_norm": "train"}),
    (learner, {"hidden_layer_sizes": (), "max_epochs": 10}),
]


@pytest.mark.parametrize(
    ("make", "parameters", "moment"),
    [(*case, ["batch", "epoch"][i % 2]) for i, case in enumerate(RESUMED)],
)
def test_a_killed_fit_goes_on_to_the_same_weights(tmp_path, make, parameters, moment):
    expected = make(**parameters).fit(X, Y)
    folder = tmp_path / "checkpoints"
    killed = make(**parameters, checkpoint_dir=folder, callbacks=[At(3, KilledError(), moment)])
    with pytest.raises(KilledError):
        killed.fit(X, Y)
    assert list(folder.iterdir())
    with pytest.raises(NotFittedError):
        killed.predict(TEST)
    count = Count()
    resumed = make(**parameters, checkpoint_dir=str(folder), callbacks=[count]).fit(X, Y)
    epochs = [event for event in count.events if isinstance(event, int)]
    assert epochs[0] == 3  # two epochs were saved; the one that was killed is repeated
    assert_array_equal(resumed.predict_proba(TEST), expected.predict_proba(TEST))
    assert resumed.history_ == expected.history_
    assert list(folder.iterdir()) == []


def test_checkpoints_change_nothing(tmp_path):
    expected = tuner().fit(X, Y).predict_proba(TEST)
    classifier = tuner(checkpoint_dir=tmp_path / "a" / "b").fit(X, Y)
    assert_array_equal(classifier.predict_proba(TEST), expected)
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-3},
        {"random_state": 1},
        {"max_epochs": 5},
        {"augment": "light"},
        {"class_weight": {0: 1, 1: 3}},
        {"label_smoothing": 0.1},
    ],
    ids=str,
)
def test_another_fit_does_not_take_it_up(tmp_path, change):
    with pytest.raises(KilledError):
        learner(checkpoint_dir=tmp_path, callbacks=[At(3, KilledError())]).fit(X, Y)
    expected = learner(**change).fit(X, Y)
    other = learner(checkpoint_dir=tmp_path, **change).fit(X, Y)
    assert_array_equal(other.predict_proba(TEST), expected.predict_proba(TEST))
    assert list(tmp_path.iterdir())  # the checkpoint of the killed fit is still there


def test_other_pictures_do_not_take_it_up(tmp_path):
    with pytest.raises(KilledError):
        learner(checkpoint_dir=tmp_path, callbacks=[At(3, KilledError())]).fit(X, Y)
    for pictures, y in [(X[::-1], Y), (X, 1 - Y), (X[:20], Y[:20])]:
        expected = learner().fit(pictures, y).predict_proba(TEST)
        other = learner(checkpoint_dir=tmp_path).fit(pictures, y)
        assert_array_equal(other.predict_proba(TEST), expected)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_other_validation_data_does_not_take_it_up(tmp_path, early_stopping):
    given = {"early_stopping": early_stopping, "max_epochs": 6, "lr": 3e-2}
    with pytest.raises(KilledError):
        learner(checkpoint_dir=tmp_path, callbacks=[At(5, KilledError())], **given).fit(
            X, Y, validation_data=(TEST, TEST_Y)
        )
    other = {"validation_data": (TEST, 1 - TEST_Y)}
    expected = learner(**given).fit(X, Y, **other)
    resumed = learner(checkpoint_dir=tmp_path, **given).fit(X, Y, **other)
    assert resumed.history_ == expected.history_
    assert_array_equal(resumed.predict_proba(TEST), expected.predict_proba(TEST))


def test_another_warm_start_does_not_take_it_up(tmp_path):
    parameters = {"warm_start": True, "max_epochs": 3}
    first = learner(**parameters).fit(X, Y)
    first.set_params(checkpoint_dir=tmp_path, callbacks=[At(3, KilledError())])
    with pytest.raises(KilledError):
        first.fit(X, Y)
    others = [learner(**parameters).fit(X[::-1], Y[::-1]) for _ in range(2)]
    expected = others[0].fit(X, Y).predict_proba(TEST)
    resumed = others[1].set_params(checkpoint_dir=tmp_path).fit(X, Y)
    assert_array_equal(resumed.predict_proba(TEST), expected)


def test_ctrl_c_leaves_a_checkpoint_too(tmp_path):
    expected = learner().fit(X, Y)
    stop = At(3, KeyboardInterrupt())
    with pytest.warns(TrainingWarning):
        learner(checkpoint_dir=tmp_path, callbacks=[stop]).fit(X, Y)
    assert list(tmp_path.iterdir())
    resumed = learner(checkpoint_dir=tmp_path).fit(X, Y)
    assert_array_equal(resumed.predict_proba(TEST), expected.predict_proba(TEST))


def test_the_candidates_of_a_search_share_a_folder(tmp_path):
    def search(**parameters):
        grid = {"lr": [1e-3, 1e-2]}
        model = learner(max_epochs=2, optimizer="adamw", **parameters)
        return GridSearchCV(model, grid, cv=StratifiedKFold(2), error_score="raise").fit(X, Y)

    plain, shared = search(), search(checkpoint_dir=tmp_path)
    scores = [s.cv_results_["mean_test_score"] for s in (plain, shared)]
    assert_array_equal(*scores)
    assert_array_equal(plain.predict_proba(TEST), shared.predict_proba(TEST))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ParameterError, match=r"checkpoint_dir=.*file"):
        learner(checkpoint_dir=tmp_path / "file").fit(X, Y)

"""skorch's callbacks: each works as documented, or raises before any picture is read."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss
from skorch import callbacks as theirs
from skorch.helper import predefined_split
from torch.optim import lr_scheduler

from sktransfer.activations.streaming import FrozenPass
from sktransfer.exceptions import ParameterError
from sktransfer.training.lbfgs import solve
from sktransfer.training.task import SeveralLabels
from sktransfer.training.user_callbacks import NAMES, check_callbacks
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier
from tests.training.helpers import CLASSES, criterion, feature_rows, module_of, trained, zero_linear

ROWS, HELD_OUT = feature_rows(), feature_rows(n=14, seed=5)


def checked(*callbacks, **changed):
    plain = {"held_out": False, "mixes": False, "solved": False, "schedule": None}
    check_callbacks(callbacks, **{**plain, **changed})


def described(*callbacks, rows=ROWS, **options):
    """A net that descended, watched by callbacks."""
    split = predefined_split(HELD_OUT)
    return trained(
        module_of(zero_linear()), rows, callbacks=list(callbacks), train_split=split, **options
    )


def solved(*callbacks):
    """A net that L-BFGS solved, watched by callbacks."""
    named = [(f"one {i}", callback) for i, callback in enumerate(callbacks)]
    return solve(
        ROWS,
        CLASSES,
        weight_decay=1e-2,
        begin_like=None,
        callbacks=named,
        max_epochs=5,
        verbose=0,
        train_split=predefined_split(HELD_OUT),
        **criterion(),
    )


NETS = pytest.mark.parametrize("net", [described, solved])


@NETS
@pytest.mark.parametrize("kind", [theirs.EpochScoring, theirs.BatchScoring])
def test_scores_are_those_of_the_validation_rows(net, kind):
    fitted = net(kind("accuracy", lower_is_better=False))
    y, predicted = HELD_OUT.targets.y.numpy(), fitted.scores_of(HELD_OUT).argmax(1).numpy()
    assert fitted.history[-1]["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert {"accuracy_best", "valid_score"} <= set(fitted.history[-1])


@NETS
def test_any_scorer_will_do(net):
    own = theirs.EpochScoring(lambda net, X, y: (net.predict(X) == y).mean(), name="own")
    names = ("f1_macro", "neg_log_loss", "roc_auc_ovr", "balanced_accuracy")
    fitted = net(own, theirs.EpochScoring(None, name="plain"), *map(theirs.EpochScoring, names))
    row, y = fitted.history[-1], HELD_OUT.targets.y.numpy()
    probabilities = fitted.scores_of(HELD_OUT).softmax(1).numpy()
    assert row["neg_log_loss"] == pytest.approx(-log_loss(y, probabilities), rel=1e-5)
    assert row["f1_macro"] == pytest.approx(f1_score(y, probabilities.argmax(1), average="macro"))
    assert row["own"] == row["plain"] == pytest.approx((probabilities.argmax(1) == y).mean())


@pytest.mark.parametrize("kind", [theirs.EpochScoring, theirs.BatchScoring])
@pytest.mark.parametrize("by_descent", [False, True])
def test_scores_of_training_are_of_the_rows_that_train(kind, by_descent):
    scoring = kind("accuracy", lower_is_better=False, on_train=True)
    if by_descent:  # so slowly that all batches are of one network
        linear = torch.nn.Linear(ROWS.views(0).shape[1], CLASSES)
        fitted = trained(module_of(linear), ROWS, callbacks=[scoring], lr=1e-12)
    else:
        fitted = solved(scoring)
    right = fitted.scores_of(ROWS).argmax(1) == ROWS.targets.y
    assert fitted.history[-1]["accuracy"] == pytest.approx(right.double().mean().item())


def test_a_score_without_cache_asks_the_net():
    def score(net, rows, y):
        assert y is None
        return float((net.predict(rows) == rows.targets.y.numpy()).mean())

    fitted = described(theirs.EpochScoring(score, use_caching=False, name="own"))
    assert fitted.history[-1]["own"] == pytest.approx(
        fitted.score(HELD_OUT, HELD_OUT.targets.y.numpy())
    )


def test_scores_of_several_labels():
    indicator = torch.eye(CLASSES)[ROWS.targets.y]
    rows = type(ROWS)(ROWS.views, indicator)
    fitted = trained(
        module_of(zero_linear()),
        rows,
        **criterion("binary_cross_entropy", SeveralLabels()),
        callbacks=[theirs.EpochScoring("f1_macro", on_train=True, lower_is_better=False)],
        max_epochs=20,
    )
    assert 0.3 < fitted.history[-1]["f1_macro"] <= 1
    assert np.isin(fitted.predict(rows), (0, 1)).all()
    assert fitted.predict_proba(rows).shape == (len(rows), CLASSES)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_callbacks_see_gradients_in_their_own_scale(precision):
    class Norms(theirs.Callback):
        def on_train_begin(self, net, **kwargs):
            self.seen = []

        def on_grad_computed(self, net, named_parameters, **kwargs):
            self.seen.append(sum(float(p.grad.square().sum()) for _, p in named_parameters))

    shortened, full = Norms(), Norms()
    described(shortened, precision=precision, max_epochs=1)
    described(full, max_epochs=1)
    np.testing.assert_allclose(shortened.seen[0], full.seen[0], rtol=0.05)


def test_batches_are_what_skorch_says():
    class Batches(theirs.Callback):
        def on_batch_begin(self, net, batch, training, **kwargs):
            X, y = batch
            assert isinstance(y, torch.Tensor)
            assert len(X) == len(y)

    described(Batches())
    solved(Batches())


WORKING = {
    "schedule": lambda _: theirs.LRScheduler(lr_scheduler.StepLR, step_size=1),
    "early stopping": lambda _: theirs.EarlyStopping("train_loss", load_best=True),
    "stopping by rows": lambda _: theirs.EarlyStopping(load_best=True),
    "bar": lambda _: theirs.ProgressBar(detect_notebook=False),
    "pass": lambda _: theirs.PassthroughScoring("valid_score"),
    "clipping": lambda _: theirs.GradientNormClipping(0.1),
    "freezer": lambda _: theirs.Freezer("head.*.bias"),
    "initializer": lambda _: theirs.Initializer("head.*.weight", fn=torch.nn.init.zeros_),
    "log": lambda _: theirs.PrintLog(sink=lambda *_: None),
    "timer": lambda _: theirs.EpochTimer(),
    "best": lambda folder: theirs.Checkpoint(dirname=folder, load_best=True),
    "last": lambda folder: theirs.TrainEndCheckpoint(dirname=folder),
    "every": lambda folder: theirs.Checkpoint(monitor=None, dirname=folder, f_pickle="net.pkl"),
}


@pytest.mark.parametrize("name", WORKING)
def test_others_of_skorch_work(tmp_path, name):
    callback = WORKING[name](tmp_path)
    checked(callback, held_out=True)
    fitted = described(callback, max_epochs=3)
    assert 1 <= len(fitted.history) <= 3
    if name == "freezer":
        assert not fitted.module_.head[0].bias.any()
    if name == "clipping":
        assert (
            fitted.module_.head[0].weight.norm()
            < described(max_epochs=3).module_.head[0].weight.norm()
        )
    if name in ("best", "last", "every"):
        assert (tmp_path / ("params.pt" if name != "last" else "train_end_params.pt")).exists()


def test_a_state_is_loaded_again(tmp_path):
    last = theirs.TrainEndCheckpoint(dirname=tmp_path)
    first = described(last, max_epochs=2)
    again = described(last, theirs.LoadInitState(last), max_epochs=1, lr=1e-9)
    torch.testing.assert_close(again.scores_of(ROWS), first.scores_of(ROWS))


@pytest.mark.parametrize(
    ("callback", "given", "told"),
    [
        (theirs.EpochScoring("accuracy"), {}, "EpochScoring.*needs rows.*validation_fraction"),
        (theirs.BatchScoring("accuracy"), {}, "BatchScoring.*needs rows"),
        (theirs.PassthroughScoring("valid_score"), {}, "PassthroughScoring.*needs rows"),
        (theirs.EarlyStopping(), {}, "EarlyStopping.*needs rows.*monitor='train_loss'"),
        (theirs.Checkpoint(), {}, "Checkpoint.*needs rows"),
        (
            theirs.EpochScoring("accuracy", on_train=True),
            {"mixes": True},
            "EpochScoring.*mixup",
        ),
        (
            theirs.EpochScoring("accuracy", use_caching=False),
            {"held_out": True},
            "EpochScoring.*use_caching=True",
        ),
        (theirs.LRScheduler(), {"schedule": "cosine"}, "LRScheduler.*schedule='cosine'"),
        (theirs.LRScheduler(), {"solved": True}, "LRScheduler.*L-BFGS.*optimizer='adamw'"),
        (theirs.GradientNormClipping(1.0), {"solved": True}, "GradientNormClipping.*L-BFGS"),
        (theirs.Freezer("*"), {"solved": True}, "Freezer.*L-BFGS"),
        (theirs.InputShapeSetter(), {}, "InputShapeSetter.*Leave it out"),
        (theirs.EpochScoring, {}, "EpochScoring.*without arguments.*scoring"),
        (("valid_score", theirs.EpochTimer()), {}, "'valid_score'.*another name"),
        (3, {}, "callbacks must be skorch callbacks.*int: 3"),
        (("name", "timer"), {}, "callbacks must be.*tuple"),
        (dict, {}, "callbacks must be"),
    ],
)
def test_what_can_not_work_is_told(callback, given, told):
    with pytest.raises(ParameterError, match=told):
        checked(theirs.EpochTimer(), callback, **given)


def test_names_are_given_once():
    with pytest.raises(ParameterError, match="'mine'"):
        checked(("mine", theirs.EpochTimer()), ("mine", theirs.EpochTimer()))


@pytest.mark.parametrize("name", ["valid_loss", "valid_score", "lr"])
def test_what_is_recorded_already_is_not_written_over(name):
    with pytest.raises(ParameterError, match=f"overwrite '{name}' in history_"):
        checked(theirs.EpochScoring("accuracy", name=name, on_train=True))


@pytest.mark.parametrize("given", [None, [], [theirs.EpochTimer(), theirs.EpochTimer]])
def test_what_works_passes(given):
    checked(*(given or ()))


def test_our_own_names_are_known():
    for net in (described(), solved()):
        ours = {name for name, _ in net.callbacks_}
        assert ours <= NAMES


classifier = partial(make_classifier, max_epochs=2)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"callbacks": [theirs.EpochScoring("accuracy")]}, "needs rows"),
        ({"callbacks": [theirs.LRScheduler()]}, "L-BFGS"),
        ({"callbacks": [theirs.LRScheduler()], "gradient_clipping": 1.0}, "L-BFGS"),
        ({"callbacks": [theirs.LRScheduler()], "optimizer": "sgd"}, "schedule='cosine'"),
        (
            {
                "callbacks": [theirs.BatchScoring("accuracy", on_train=True)],
                "unfreeze_depth": 1,
                "mixup": 1,
            },
            "mixup",
        ),
        ({"callbacks": [theirs.InputShapeSetter()]}, "InputShapeSetter"),
    ],
)
def test_no_picture_is_read_before(monkeypatch, parameters, told):
    monkeypatch.setattr(FrozenPass, "collect", lambda *_: pytest.fail("a picture was read"))
    with pytest.raises(ParameterError, match=f"callbacks holds .*{told}"):
        classifier(**parameters).fit(*make_pictures(6))


@pytest.mark.parametrize("parameters", [{}, {"optimizer": "adamw"}, {"unfreeze_depth": 1}])
def test_a_classifier_keeps_what_scoring_callbacks_measure(parameters):
    X, y = make_pictures(24)
    scoring = [
        theirs.EpochScoring("balanced_accuracy", lower_is_better=False),
        theirs.BatchScoring("accuracy", lower_is_better=False, on_train=True, name="train_score"),
    ]
    fitted = classifier(callbacks=scoring, validation_fraction=0.25, **parameters).fit(
        X, np.array(["b", "a"])[y]
    )
    last = fitted.history_[-1]
    assert last["balanced_accuracy"] == pytest.approx(last["valid_score"])  # as many of each
    assert 0 <= last["train_score"] <= 1


def test_numbers_of_numpy_are_numbers_here():
    model = classifier(hidden_layer_sizes=np.int64(4), dropout=np.float32(0))
    assert model.fit(*make_pictures(6)).history_[-1]["phase"] == "head"


def test_pieces_may_have_a_scheduler_of_their_own():
    step = theirs.LRScheduler(lr_scheduler.StepLR, step_size=1)
    by_descent = classifier(callbacks=[step], optimizer="adamw")
    assert by_descent.partial_fit(*make_pictures(6)).n_iter_ > 0


@pytest.mark.parametrize("callback", [theirs.LRScheduler(), theirs.GradientNormClipping(1.0)])
def test_pieces_that_are_solved_know_neither_rates_nor_gradients(callback):
    with pytest.raises(ParameterError, match="L-BFGS"):
        classifier(callbacks=[callback]).partial_fit(*make_pictures(6))

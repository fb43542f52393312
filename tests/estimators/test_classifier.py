import pickle
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.loading import load_backbone
from sktransfer.estimators import fit_model as fitting
from sktransfer.estimators.fitted import FittedModel
from sktransfer.exceptions import (
    BackboneError,
    EngineUnavailableError,
    ImageError,
    ParameterError,
    TrainingDivergedError,
    TrainingWarning,
)
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

small = partial(make_classifier)
# On real weights, and at a rate at which pictures that are told apart at once stay so.
pretrained = partial(make_classifier, backbone=LITE0, lr=1e-5)


def test_learns(pictures):
    X, y = pictures
    test_X, test_y = make_pictures(12, seed=1)
    classifier = pretrained().fit(X, y)
    assert classifier.score(test_X, test_y) == 1.0
    probabilities = classifier.predict_proba(test_X)
    assert probabilities.shape == (12, 2)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert_allclose(classifier.predict_log_proba(test_X), np.log(probabilities), rtol=1e-3)


def test_decision_function_fits_probabilities():
    X, y = make_pictures(24, n_classes=3)
    three = pretrained().fit(X, y)
    assert three.decision_function(X).shape == (24, 3)
    two = pretrained().fit(X[y < 2], y[y < 2])
    scores = two.decision_function(X)
    assert scores.shape == (24,)
    assert_allclose(1 / (1 + np.exp(-scores)), two.predict_proba(X)[:, 1], rtol=1e-4)


@pytest.mark.parametrize(
    "labels",
    [["ant", "bee"], [10, 99], [-1, 1], [False, True], np.array(["a", "b"], dtype=object)],
    ids=["strings", "gaps", "negative", "bools", "objects"],
)
def test_labels_come_back_as_they_were(pictures, labels):
    X, y = pictures
    given = np.asarray(labels)[y]
    classifier = pretrained().fit(X, given)
    assert_array_equal(classifier.classes_, np.unique(given))
    predicted = classifier.predict(X)
    assert predicted.dtype == given.dtype
    assert_array_equal(predicted, given)


@pytest.mark.parametrize("depth", [0, 1, 2, "all"])
def test_frozen_means_frozen_to_the_bit(pictures, depth):
    backbone = load_backbone("efficientnet_lite0")
    before = {
        stage.name: {k: v.clone() for k, v in stage.module.state_dict().items()}
        for stage in backbone.stages
    }
    classifier = pretrained(unfreeze_depth=depth, max_epochs=2).fit(*pictures)
    for stage in backbone.stages:  # the shared network, all of it
        for key, value in stage.module.state_dict().items():
            assert torch.equal(value, before[stage.name][key])
    trained = dict(classifier.net_.module_.stages.named_children())
    counted = {stage.name for stage in backbone.stages if depth == "all" or stage.depth <= depth}
    assert counted - {"neck"} == set(trained) - {"neck", "normalise"}
    for name, module in trained.items():
        for key, value in module.state_dict().items():
            statistics = any(word in key for word in ("running_", "num_batches"))
            if statistics:
                assert torch.equal(value, before[name][key])
        weights = [k for k, p in module.named_parameters() if p.ndim > 1]
        if weights:
            assert any(not torch.equal(module.state_dict()[k], before[name][k]) for k in weights)


def test_random_weights_learn_their_batchnorm_statistics(pictures):
    classifier = small(unfreeze_depth=1, max_epochs=1).fit(*pictures)
    state = classifier.net_.module_.stages.state_dict()
    assert any(v.any() for k, v in state.items() if k.endswith("running_mean"))


def test_only_unfrozen_parameters_reach_the_optimizer(pictures, monkeypatch):
    seen = []
    original = torch.optim.AdamW.__init__

    def spy(self, params, **kwargs):
        groups = list(params)
        seen.append(sum(p.numel() for group in groups for p in group["params"]))
        original(self, groups, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", spy)
    classifier = pretrained(unfreeze_depth=1, max_epochs=1).fit(*pictures)
    assert seen == [sum(p.numel() for p in classifier.net_.module_.parameters())]


def test_pictures_are_read_once_whatever_the_epochs(picture_files, decoded):
    paths, y = picture_files
    pretrained(unfreeze_depth=1, max_epochs=3).fit(paths, y)
    assert sorted(decoded) == sorted(paths)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"unfreeze_depth": 1, "max_epochs": 2},
        {"hidden_layer_sizes": (16,), "dropout": 0.5, "max_epochs": 2},
        {"unfreeze_depth": 1, "max_epochs": 2, "dropout": 0.3, "head_init": "random"},
    ],
)
def test_same_seed_same_predictions_to_the_bit(pictures, parameters):
    X, y = pictures
    first = pretrained(**parameters).fit(X, y).predict_proba(X)
    torch.rand(3)  # the global state must not matter
    second = pretrained(**parameters).fit(X, y).predict_proba(X)
    assert_array_equal(first, second)
    if parameters:
        other = pretrained(**parameters).set_params(random_state=1).fit(X, y)
        assert not np.array_equal(other.predict_proba(X), first)


def test_global_states_are_untouched(pictures):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002  (the old global state is what is tested)
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    before = torch.random.get_rng_state(), numpy_state, torch.get_num_threads()
    small(unfreeze_depth=1, dropout=0.5, max_epochs=1).fit(*pictures).predict(pictures[0])
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == before[2]


def test_a_warm_start_may_unfreeze_more_and_never_less(pictures):
    X, y = pictures
    classifier = pretrained(warm_start=True, hidden_layer_sizes=(8,), max_epochs=2).fit(X, y)
    head = classifier.net_.module_.head[1].weight.clone()
    classifier.set_params(unfreeze_depth=1, lr=1e-12).fit(X, y)
    assert torch.allclose(classifier.net_.module_.head[1].weight, head)
    classifier.set_params(lr=1e-3).fit(X, y)
    trained = classifier.net_.module_.stages.state_dict()
    classifier.set_params(unfreeze_depth=2, lr=1e-12).fit(X, y)
    deeper = classifier.net_.module_.stages.state_dict()
    assert len(deeper) > len(trained)
    assert all(torch.allclose(deeper[key], value) for key, value in trained.items())
    with pytest.raises(ParameterError, match="unfreeze_depth was 2 in it and is 1 now"):
        classifier.set_params(unfreeze_depth=1).fit(X, y)


def test_history(pictures):
    settings = {"unfreeze_depth": 1, "max_epochs": 3, "weight_decay": 1e-4}
    classifier = pretrained(**settings, validation_fraction=0.25).fit(*pictures)
    assert classifier.n_iter_ == len(classifier.history_)
    tuned = [row for row in classifier.history_ if row["phase"] == "fine-tune"]
    assert [row["epoch"] for row in tuned] == [1, 2, 3]
    assert {"train_loss", "lr", "valid_loss", "valid_score"} <= set(tuned[0])
    assert tuned[-1]["lr"] < tuned[0]["lr"]
    assert 0 <= tuned[0]["valid_score"] <= 1
    probe = [row for row in classifier.history_ if row["phase"] == "probe"]
    assert probe[-1]["train_loss"] < 0.01  # it has no penalty in it, and need not fall to the end


def test_every_row_trains_unless_a_split_is_asked_for(pictures, monkeypatch):
    seen = []
    train = fitting.train

    def spy(settings, data):
        seen.append((len(data.rows), data.validation and len(data.validation)))
        return train(settings, data)

    monkeypatch.setattr(fitting, "train", spy)
    small().fit(*pictures)
    small(validation_fraction=0.25).fit(*pictures)
    assert seen == [(24, None), (18, 6)]


def test_keras_head(pictures):
    classifier = pretrained(hidden_layer_sizes=(1024,), max_epochs=2).fit(*pictures)
    shapes = [tuple(m.weight.shape) for m in classifier.net_.module_.head if hasattr(m, "weight")]
    assert shapes == [(1024, 1280), (2, 1024)]
    one = pretrained(hidden_layer_sizes=1024, max_epochs=2).fit(*pictures)
    assert_array_equal(one.predict_proba(pictures[0]), classifier.predict_proba(pictures[0]))


def test_pooling_flatten_widens_the_head(pictures):
    classifier = pretrained(image_size=64, pooling="flatten").fit(*pictures)
    assert classifier.net_.module_.head[-1].linear.in_features == 1280 * 2 * 2


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "lbfgs"])
def test_optimizers_beat_chance(pictures, optimizer):
    classifier = pretrained(optimizer=optimizer, lr=1e-2, max_epochs=5).fit(*pictures)
    assert classifier.history_[-1]["train_loss"] < 0.95 * np.log(2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 1e-4),
        ("lr_decay", 0.1),
        ("weight_decay", 0.5),
        ("schedule", None),
        ("max_epochs", 4),
        ("batch_size", 5),
        ("head_init", "random"),
        ("dropout", 0.5),
        ("hidden_layer_sizes", (8,)),
        ("optimizer", "sgd"),
        ("pooling", "max"),
        ("class_weight", {0: 1, 1: 5}),
        ("validation_fraction", 0.3),
        ("unfreeze_depth", 2),
        ("image_size", 48),
        ("precision", "bfloat16"),
        ("random_state", 5),
    ],
)
def test_each_parameter_changes_the_result(name, value):
    X, y = make_pictures(20)
    common = {"unfreeze_depth": 1, "max_epochs": 2, "image_size": 64, "batch_size": 8}
    common["engine"] = "torch"  # which computes in any precision on all processors
    base = pretrained(**common).fit(X, y).predict_proba(X)
    changed = pretrained(**common).set_params(**{name: value}).fit(X, y)
    assert not np.array_equal(changed.predict_proba(X), base)


def test_unit_weights_equal_none(pictures):
    X, y = pictures
    plain = pretrained(unfreeze_depth=1, max_epochs=2).fit(X, y)
    weighted = pretrained(unfreeze_depth=1, max_epochs=2).fit(X, y, sample_weight=np.full(24, 3.0))
    assert_array_equal(plain.predict_proba(X), weighted.predict_proba(X))


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.5}])
def test_weight_0_equals_the_row_removed(class_weight):
    X, y = make_pictures(30)
    weights = np.ones(30)
    weights[:7] = 0
    zeroed = pretrained(class_weight=class_weight).fit(X, y, sample_weight=weights)
    removed = pretrained(class_weight=class_weight).fit(X[7:], y[7:])
    assert_allclose(zeroed.predict_proba(X), removed.predict_proba(X), rtol=1e-4)


def test_weight_2_equals_the_row_twice():
    X, y = make_pictures(20)
    weights = np.ones(20)
    weights[:5] = 2
    weighted = pretrained().fit(X, y, sample_weight=weights)
    repeated = pretrained().fit(np.concatenate([X, X[:5]]), np.concatenate([y, y[:5]]))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-4)


def test_class_weight_moves_the_balance():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    y = np.where(np.arange(40) < 34, "common", "rare")
    test = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    strong = {"weight_decay": 0.1}  # noise can be learned by heart: keep the model simple
    plain = pretrained(**strong).fit(X, y).predict_proba(test)[:, 1].mean()
    balanced = pretrained(class_weight="balanced", **strong).fit(X, y).predict_proba(test)
    by_hand = pretrained(class_weight={"rare": 34 / 6}, **strong).fit(X, y).predict_proba(test)
    assert balanced[:, 1].mean() > plain + 0.1
    assert_allclose(balanced, by_hand, rtol=1e-3)


@pytest.mark.parametrize("parameters", [{}, {"optimizer": "adamw", "lr": 0.03}])
def test_a_class_without_weight_is_not_learned_and_the_others_are(parameters):
    X, y = make_pictures(30, n_classes=3)
    with pytest.warns(TrainingWarning, match=r"No row of the classes \[2\] has any weight"):
        classifier = pretrained(**parameters).fit(X, y, sample_weight=(y < 2).astype(float))
    assert classifier.classes_.tolist() == [0, 1, 2]
    known = y < 2
    assert_array_equal(classifier.predict(X[known]), y[known])
    assert not (classifier.predict(X) == 2).any()


def test_one_class_alone_may_have_weight(pictures):
    X, y = pictures
    with pytest.warns(TrainingWarning, match=r"No row of the classes \[1\] has any weight"):
        classifier = pretrained().fit(X, y, sample_weight=(y == 0).astype(float))
    assert (classifier.predict(X) == 0).all()


@pytest.mark.parametrize("several", [False, True])
def test_impossible_weights_are_told_before_any_picture_is_read(pictures, monkeypatch, several):
    monkeypatch.setattr(FrozenPass, "collect", lambda *_: pytest.fail("a picture was read"))
    X, y = pictures
    y = np.stack([y, 1 - y], axis=1) if several else y
    loss = "binary_cross_entropy" if several else "cross_entropy"
    for weight in (-1, np.nan, np.inf):
        with pytest.raises(ParameterError, match="class_weight must give finite numbers"):
            small(loss=loss, class_weight={0: weight, 1: 1}).fit(X, y)
    for weight in (np.inf, np.nan, 1e308):
        with pytest.raises(ValueError, match=r"sample_weight"):
            small(loss=loss).fit(X, y, sample_weight=np.full(24, weight))


def test_a_last_batch_of_one_row_trains():
    X, y = make_pictures(9)
    classifier = small(unfreeze_depth=1, max_epochs=1, batch_size=4).fit(X, y)
    assert np.isfinite(classifier.predict_proba(X)).all()


def test_divergence_tells_epoch_and_rate_and_leaves_the_earlier_fit_as_it_was(pictures):
    classifier = pretrained(unfreeze_depth=1, max_epochs=2).fit(*pictures)
    before, expected = dict(vars(classifier)), classifier.predict_proba(pictures[0])
    diverges = {"optimizer": "sgd", "lr": 1e30}
    classifier.set_params(**diverges)
    with pytest.raises(TrainingDivergedError, match=r"epoch \d+ at a learning rate of"):
        classifier.fit(*pictures)
    assert vars(classifier) == before | diverges
    assert_array_equal(classifier.predict_proba(pictures[0]), expected)


def test_a_first_fit_that_fails_leaves_the_estimator_unfitted(pictures):
    classifier = pretrained(unfreeze_depth=1, max_epochs=2, optimizer="sgd", lr=1e30)
    before = dict(vars(classifier))
    with pytest.raises(TrainingDivergedError):
        classifier.fit(*pictures)
    assert vars(classifier) == before
    with pytest.raises(NotFittedError):
        classifier.predict(pictures[0])


def test_lbfgs_warns_when_it_was_stopped_early(pictures):
    with pytest.warns(ConvergenceWarning, match="max_epochs=1"):
        pretrained(max_epochs=1).fit(*pictures)


@pytest.mark.parametrize("dump", [pickle.dumps, "joblib"], ids=["pickle", "joblib"])
@pytest.mark.parametrize("depth", [0, 1])
def test_pickles_carry_what_changed(pictures, tmp_path, dump, depth):
    classifier = pretrained(unfreeze_depth=depth).fit(*pictures)
    if dump == "joblib":
        joblib.dump(classifier, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
    else:
        again = pickle.loads(dump(classifier))
    assert_array_equal(again.predict_proba(pictures[0]), classifier.predict_proba(pictures[0]))
    trained = sum(p.numel() for p in classifier.net_.module_.parameters())
    assert len(pickle.dumps(classifier)) < 4 * trained + 200_000


def test_set_params_after_fit_waits_for_the_next_fit(pictures):
    X, y = pictures
    classifier = small().fit(X, y)
    before = classifier.predict_proba(X)
    classifier.set_params(backbone="shufflenet_v2_x0_5", unfreeze_depth=1, pooling="max")
    assert_array_equal(classifier.predict_proba(X), before)
    classifier.fit(X, y)
    assert classifier._model.backbone.reference.name == "shufflenet_v2_x0_5"
    assert not np.array_equal(classifier.predict_proba(X), before)


def test_clone_is_unfitted(pictures):
    classifier = small(hidden_layer_sizes=(4,)).fit(*pictures)
    copy = clone(classifier)
    assert copy.get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(pictures[0])


def test_fit_leaves_parameters_alone(pictures):
    classifier = small(class_weight={0: 1, 1: 2})
    before = {k: repr(v) for k, v in classifier.get_params().items()}
    classifier.fit(*pictures)
    assert {k: repr(v) for k, v in classifier.get_params().items()} == before


def test_flattened_rows():
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    classifier = pretrained(image_shape=(8, 8)).fit(X[:200], y[:200])
    assert classifier.n_features_in_ == 64
    assert classifier.score(X[200:], y[200:]) > 0.6  # digits from one pass of a photo network


@pytest.mark.parametrize("depth", [0, 1])
def test_engines_agree(pictures, depth):
    pytest.importorskip("openvino")
    X, y = pictures
    classifier = pretrained(unfreeze_depth=depth, max_epochs=3, engine="torch").fit(X, y)
    expected = classifier.predict_proba(X)
    classifier.set_params(engine="openvino")
    assert_allclose(classifier.predict_proba(X), expected, rtol=1e-3)
    assert_allclose(classifier.fit(X, y).predict_proba(X), expected, rtol=1e-2)


def test_predicts_other_sizes(pictures):
    classifier = pretrained().fit(*pictures)
    larger, y = make_pictures(6, size=50, seed=2)
    assert_array_equal(classifier.predict(larger), y)


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"unfreeze_depth": 9}, BackboneError, r"unfreeze_depth=9.*0 to 5"),
        ({"unfreeze_depth": -1}, ValueError, "unfreeze_depth.*-1"),
        ({"unfreeze_depth": "most"}, ValueError, "unfreeze_depth.*most"),
        ({"hidden_layer_sizes": (0,)}, ValueError, "hidden_layer_sizes.*0"),
        ({"dropout": 1.0}, ValueError, "dropout.*1.0"),
        ({"optimizer": "lion"}, ValueError, "optimizer.*lion"),
        ({"optimizer": "lbfgs", "unfreeze_depth": 1}, ValueError, "lbfgs.*unfreeze_depth=1"),
        ({"optimizer": "lbfgs", "hidden_layer_sizes": 8}, ValueError, "lbfgs.*hidden_layer"),
        ({"optimizer": "lbfgs", "dropout": 0.1}, ValueError, r"lbfgs.*dropout=0\.1"),
        ({"lr": 0}, ValueError, "lr.*0"),
        ({"max_epochs": 0}, ValueError, "max_epochs.*0"),
        ({"class_weight": "even"}, ValueError, "class_weight.*even"),
        ({"class_weight": {"cat": 1, "dog": 2}}, ValueError, "class_weight"),
        ({"validation_fraction": 0.01}, ValueError, "validation_fraction=0.01"),
        ({"engine": "onnx"}, ValueError, "engine.*onnx"),
        ({"precision": "float64"}, ValueError, "precision.*float64"),
        ({"precision": "float16"}, EngineUnavailableError, "float16.*CUDA.*'cpu'"),
        ({"cache": 5}, ValueError, "cache.*5"),
        ({"image_size": 1, "backbone": "alexnet"}, BackboneError, "image_size=1"),
    ],
)
def test_bad_parameters_are_told_in_fit(pictures, parameters, error, words):
    classifier = small().set_params(**parameters)
    with pytest.raises(error, match=words):
        classifier.fit(*pictures)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y: y[:-1], "inconsistent"),
        (lambda y: np.zeros_like(y), "one class only"),
        (lambda y: np.where(y, np.nan, 1.0), "NaN"),
        (lambda y: np.where(y, None, "a"), "NaN or None.*row 1"),
        (lambda y: np.linspace(0, 1, len(y)), "Unknown label type"),
        (lambda _: None, "requires y"),
        (lambda y: np.stack([y, 1 - y], 1), "loss='cross_entropy' is for one"),
    ],
    ids=["length", "one class", "nan", "none", "continuous", "missing", "indicator"],
)
def test_bad_y_is_told(pictures, change, words):
    X, y = pictures
    with pytest.raises(ValueError, match=words):
        small().fit(X, change(y))


def test_bad_picture_is_told_with_its_row(pictures):
    X = list(pictures[0])
    X[5] = np.full((8, 8, 3), 300.0)
    with pytest.raises(ImageError, match=r"row 5 of X.*0\.\.1"):
        small().fit(X, pictures[1])


def test_sample_weight_is_checked(pictures):
    X, y = pictures
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        small().fit(X, y, sample_weight=-np.ones(24))
    with pytest.raises(ValueError, match="sample_weight"):
        small().fit(X, y, sample_weight=np.ones(5))


def test_net_is_a_skorch_net(pictures):
    from skorch import NeuralNet

    classifier = pretrained().fit(*pictures)
    assert isinstance(classifier.net_, NeuralNet)
    assert classifier.net_.optimizer_ is None  # training state is not kept


@pytest.mark.parametrize(
    "name", ["classes_", "history_", "n_iter_", "temperature_", "net_", "device_"]
)
def test_attributes_of_a_fit_can_not_be_set_apart_from_it(pictures, name):
    classifier = small()
    assert not hasattr(classifier, name)
    classifier.fit(*pictures)
    with pytest.raises(AttributeError):
        setattr(classifier, name, getattr(classifier, name))


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_a_prediction_is_of_one_model_though_another_is_fitted_meanwhile(
    pictures, loss, monkeypatch
):
    X, y = pictures
    classifier = small(loss=loss).fit(X, np.array(["a", "b"])[y])
    asked = ("predict", "predict_proba", "predict_log_proba", "decision_function")
    expected = {name: getattr(classifier, name)(X) for name in asked}
    first = classifier._model
    second = small(loss=loss).fit(X, np.arange(len(X)) % 3)._model
    original = FittedModel.scores

    def scores(self, *args):
        classifier._model = second  # as another thread's fit does at the end
        return original(self, *args)

    monkeypatch.setattr(FittedModel, "scores", scores)
    for name in asked:
        classifier._model = first
        assert_array_equal(getattr(classifier, name)(X), expected[name])

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer import adapt_batch_norm, free_memory
from sktransfer.adaptation import batch_norm as module
from sktransfer.exceptions import ImageError, ParameterError, UnreadableImageError
from tests.backbones.helpers import same_values, values_of
from tests.conftest import make_pictures, save_pictures
from tests.pretended_devices import having
from tests.small_estimators import LITE0, make_classifier, make_extractor

pytestmark = [
    pytest.mark.filterwarnings("ignore:L-BFGS did not converge"),
    pytest.mark.filterwarnings("ignore:Fine-tuning skipped"),
    pytest.mark.filterwarnings("ignore:Fine-tuning ended"),
]

X, y = make_pictures(24)
# The target: darker pictures with less contrast.
T = (40 + 0.3 * make_pictures(20, seed=1)[0]).astype(np.uint8)

small = partial(make_classifier, engine="torch", max_epochs=1, batch_size=8)
alone = partial(adapt_batch_norm, n_source=0)


@pytest.fixture(scope="module")
def extractor():
    return make_extractor(engine="torch").fit(X)


@pytest.fixture(scope="module")
def classifier():
    return small().fit(X, y)


@pytest.fixture(scope="module")
def tuned():
    return small(unfreeze_depth=1).fit(X, y)


def in_training(network, backbone):
    """The output of a copy of a network whose BatchNorm layers normalise by the target."""
    pixels = np.stack([backbone.preprocessing(picture) for picture in T])
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.train()
    with torch.inference_mode():
        return network(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def differ(one, other):
    return np.abs(one - other).max() > 1e-3 * np.abs(other).max()


def close(one, other):
    assert_allclose(one, other, atol=1e-3 * np.abs(other).max())


# Values.


def test_features_are_those_of_a_network_that_trains_on_the_target(extractor):
    adapted = alone(extractor, T)
    close(
        adapted.transform(T),
        in_training(extractor._fitted.network(), extractor._fitted.backbone).numpy(),
    )
    assert differ(adapted.transform(T), extractor.transform(T))


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_scores_are_those_of_a_network_that_trains_on_the_target(depth):
    fitted = small(unfreeze_depth=depth).fit(X, y)
    adapted = alone(fitted, T)
    network = torch.nn.Sequential(fitted._model.frozen_network(), fitted.net_.module_)
    expected = in_training(network, fitted._model.backbone).softmax(1).numpy()
    assert_allclose(adapted.predict_proba(T), expected, atol=1e-3)
    assert differ(adapted.predict_proba(T), fitted.predict_proba(T))


@pytest.mark.parametrize("stage", ["level3", ["level2", "level4"]])
def test_only_stages_that_run_are_adapted(stage):
    fitted = make_extractor(stage=stage, engine="torch").fit(X)
    adapted = alone(fitted, T)
    close(
        adapted.transform(T), in_training(fitted._fitted.network(), fitted._fitted.backbone).numpy()
    )
    changed = adapted._fitted.backbone.reference._statistics
    last = 3 if stage == "level3" else 4
    assert {name.split(".")[0] for name in changed} == {f"level{i + 1}" for i in range(last)}


def test_scores_of_the_pretrained_classifier_are_adapted():
    fitted = make_extractor(backbone=LITE0, stage="logits", engine="torch").fit(X)
    close(
        alone(fitted, T).transform(T),
        in_training(fitted._fitted.network(), fitted._fitted.backbone).numpy(),
    )


def test_networks_of_timm_are_adapted():
    pytest.importorskip("timm")  # its BatchNorm layers activate too
    fitted = make_extractor(backbone="timm/resnet18.a1_in1k", engine="torch").fit(X)
    expected = in_training(fitted._fitted.network(), fitted._fitted.backbone).numpy()
    close(alone(fitted, T).transform(T), expected)


def test_the_more_the_source_weighs_the_less_changes(extractor):
    before = extractor.transform(T)
    changes = [
        np.abs(adapt_batch_norm(extractor, T, n_source=n).transform(T) - before).mean()
        for n in (0, 20, 1e9)
    ]
    assert changes == sorted(changes, reverse=True)
    assert changes[2] < 1e-4 * changes[0]


def test_the_default_counts_the_source_as_16_pictures(extractor):
    name, found = next(iter(reference(adapt_batch_norm(extractor, T))._statistics.items()))
    source = next(iter(reference(extractor).get().stages)).module
    (target,) = (reference(alone(extractor, T))._statistics[name],)
    layer = next(m for m in source.modules() if isinstance(m, _BatchNorm))
    torch.testing.assert_close(found.mean, (16 * layer.running_mean + 20 * target.mean) / 36)
    torch.testing.assert_close(found.var, (16 * layer.running_var + 20 * target.var) / 36)


def test_pictures_of_all_classes_are_normalised_together(extractor, monkeypatch):
    batches = []
    original = module.read_batches

    def spy(images, preprocessing, rows, **options):
        rows = list(rows)
        batches.extend(rows)
        return original(images, preprocessing, rows, **options)

    monkeypatch.setattr(module, "read_batches", spy)
    adapt_batch_norm(extractor, X[np.argsort(y, kind="stable")], batch_size=7)
    assert sorted(len(rows) for rows in batches) == [6] * 4
    assert sorted(row for rows in batches for row in rows) == list(range(24))
    assert all(0 < sum(row < 12 for row in rows) < 6 for rows in batches)


def test_equal_calls_give_equal_bits(extractor):
    one, other = (adapt_batch_norm(extractor, T, batch_size=6).transform(T) for _ in range(2))
    assert_array_equal(one, other)


def test_pictures_come_in_any_form(extractor, tmp_path):
    paths = save_pictures(T, tmp_path)
    assert_array_equal(alone(extractor, paths).transform(T), alone(extractor, T).transform(T))
    flat = make_extractor(image_shape=(32, 32, 3), engine="torch").fit(X.reshape(24, -1))
    assert_array_equal(
        alone(flat, T.reshape(20, -1)).transform(T), alone(extractor, T).transform(T)
    )


# Pictures of the source.


def with_source(estimator, target, source=X, **options):
    return adapt_batch_norm(estimator, target, X_source=source, n_source=0, **options)


@pytest.mark.parametrize("depth", [0, 1])
def test_the_source_itself_changes_nothing(depth):
    fitted = small(unfreeze_depth=depth).fit(X, y)
    same = with_source(fitted, X)
    assert_allclose(same.predict_proba(T), fitted.predict_proba(T), atol=2e-3)
    assert differ(alone(fitted, X).predict_proba(T), fitted.predict_proba(T))


def test_features_of_the_target_are_spread_as_those_of_the_source_are():
    fitted = make_extractor(backbone=LITE0, engine="torch", image_size=64).fit(X)
    source, before = fitted.transform(X), fitted.transform(T)
    after = with_source(fitted, T).transform(T)
    for moment in (np.mean, np.std):
        distances = [
            np.abs(moment(f, axis=0) - moment(source, axis=0)).mean() for f in (before, after)
        ]
        assert distances[1] < 0.3 * distances[0]


def test_a_missing_source_is_told(extractor, caplog):
    with_source(extractor, T)
    assert not caplog.records
    alone(extractor, T)
    assert ["Give some of these pictures as X_source" in each for each in caplog.messages] == [True]


def test_pictures_of_the_source_that_can_not_be_used_are_told(extractor):
    with pytest.raises(ImageError, match="X_source can't be used: "):
        with_source(extractor, T, source=[])
    with pytest.raises(ImageError, match="X_target can't be used: "):
        with_source(extractor, [])


# Nothing else changes.


def reference(estimator):
    return estimator._fitted.backbone.reference


def test_the_original_stays_as_it_is(extractor, tuned):
    network, net = extractor._fitted.network(), tuned.net_.module_
    state, trained = values_of(network), values_of(net)
    features, scores = extractor.transform(X), tuned.decision_function(X)
    attributes = dict(vars(extractor)), dict(vars(tuned))
    adapted = alone(extractor, T), alone(tuned, T)
    for each in adapted:
        getattr(each, "predict_proba", None) or each.transform(T)
    assert same_values(state, network.state_dict())
    assert same_values(trained, net.state_dict())
    assert (vars(extractor), vars(tuned)) == attributes
    assert_array_equal(extractor.transform(X), features)
    assert_array_equal(tuned.decision_function(X), scores)


def test_all_other_weights_are_equal_to_the_bit(tuned):
    adapted = alone(tuned, T)
    pairs = [(tuned.net_.module_, adapted.net_.module_)]
    pairs.append((tuned._model.frozen_network(), adapted._model.frozen_network()))
    for one, other in pairs:
        others = other.state_dict()
        for name, value in one.state_dict().items():
            statistics = name.endswith(("running_mean", "running_var"))
            assert torch.equal(value, others[name]) != statistics, name


def test_parameters_and_attributes_are_those_of_the_original(classifier):
    adapted = alone(classifier, T)
    assert adapted.get_params() == classifier.get_params()
    assert_array_equal(adapted.classes_, classifier.classes_)
    assert adapted.history_ == classifier.history_
    adapted.set_params(batch_size=5)
    assert classifier.batch_size == 8


def test_a_fit_of_the_copy_begins_with_the_pretrained_weights(tuned):
    adapted = alone(tuned, T)
    expected = clone(tuned).fit(X, y).predict_proba(X)
    assert_array_equal(adapted.fit(X, y).predict_proba(X), expected)


def test_a_fit_can_not_continue_with_other_statistics(tuned):
    adapted = alone(tuned, T)
    with pytest.raises(ParameterError, match="adapt_batch_norm has replaced"):
        adapted.partial_fit(X, y)
    with pytest.raises(ParameterError, match="fit with warm_start=False"):
        adapted.set_params(warm_start=True).fit(X, y)


@pytest.mark.parametrize("way", [copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_an_adapted_copy_is_not_adapted_again(extractor, way):
    with pytest.raises(ParameterError, match="Adapt the original estimator"):
        alone(way(alone(extractor, X)), T)


def test_a_copy_with_all_stages_trained_is_not_adapted_again():
    classifier = small(unfreeze_depth="all").fit(X, y)
    with pytest.raises(ParameterError, match="Adapt the original estimator"):
        alone(alone(classifier, T), T)


# Meetings with the store, engines, pickles, devices and other parameters.


@pytest.mark.parametrize("make", [make_extractor, small])
def test_the_cache_never_mixes_the_two(make, tmp_path):
    def outputs(cache):
        fitted = make(engine="torch", cache=cache).fit(X, y)
        adapted = alone(fitted, T)
        estimators = (fitted, adapted, fitted, adapted)
        return [(e.transform if make is make_extractor else e.predict_proba)(T) for e in estimators]

    found = outputs(tmp_path / "cache")
    for one, other in zip(found, outputs(None), strict=True):
        assert_allclose(one, other, atol=1e-6 * np.abs(other).max())
    assert_array_equal(found[0], found[2])
    assert_array_equal(found[1], found[3])
    assert differ(found[1], found[0])


def test_openvino_runs_the_other_statistics(tmp_path):
    pytest.importorskip("openvino")
    fitted = make_extractor(engine="torch", cache=tmp_path).fit(X)
    expected = alone(fitted, T).transform(T)
    converted = fitted.set_params(engine="openvino", cache=tmp_path / "other")
    before = converted.transform(T)
    adapted = alone(converted, T).transform(T)
    assert_allclose(adapted, expected, atol=1e-4 * np.abs(expected).max())
    assert differ(adapted, before)


@pytest.mark.parametrize("way", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
@pytest.mark.parametrize("depth", [0, 1])
def test_pickles_keep_the_statistics(depth, way):
    adapted = alone(small(unfreeze_depth=depth).fit(X, y), T)
    expected = adapted.predict_proba(T)
    again = way(adapted)
    free_memory()
    assert_array_equal(again.predict_proba(T), expected)
    assert_array_equal(way(again).predict_proba(T), expected)


def test_a_pickle_carries_what_changed(extractor):
    plain, adapted = (len(pickle.dumps(each)) for each in (extractor, alone(extractor, T)))
    network = extractor._fitted.network()
    weights = sum(p.nbytes for p in network.parameters())
    assert 0 < adapted - plain < weights / 4


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
@pytest.mark.parametrize("depth", [0, 1])
def test_devices_measure_the_same(monkeypatch, device, depth):
    def adapted_on_its_device():
        return adapt_batch_norm(small(unfreeze_depth=depth, device="auto").fit(X, y), T)

    expected = adapted_on_its_device().predict_proba(T)
    with having(monkeypatch, device):
        adapted = adapted_on_its_device()
        assert adapted.device_ == device
        assert_allclose(adapted.predict_proba(T), expected, atol=1e-2)


def test_statistics_are_measured_in_float32():
    one, other = (
        reference(alone(make_extractor(precision=each, engine="torch").fit(X), T))._statistics
        for each in ("float32", "bfloat16")
    )
    for name, values in one.items():
        assert torch.equal(values.mean, other[name].mean)


PREDICTING = {
    "views": {"tta": 2},
    "dropout": {"dropout": 0.5, "mc_dropout": 3},
    "calibrated": {"validation_fraction": 0.25, "calibrate": "temperature"},
    "averaged": {"unfreeze_depth": 1, "ema_decay": 0.5},
    "statistics that moved": {"unfreeze_depth": 1, "batch_norm": "train"},
}


@pytest.mark.parametrize("name", PREDICTING)
def test_other_parameters_keep_their_meaning(name):
    fitted = small(**PREDICTING[name]).fit(X, y)
    adapted = alone(fitted, T)
    before, after = fitted.predict_proba(T), adapted.predict_proba(T)
    assert differ(after, before)
    assert_allclose(after.sum(1), 1, atol=1e-5)
    close(adapt_batch_norm(fitted, T, n_source=1e9).predict_proba(T), before)
    assert adapted.temperature_ == fitted.temperature_


def test_progress_is_shown_if_asked(extractor, capsys):
    alone(extractor, T)
    assert "Measuring" not in capsys.readouterr().err
    alone(clone(extractor).set_params(verbose=1).fit(X), T)
    assert "Measuring statistics" in capsys.readouterr().err


# Pipelines.


def test_a_step_of_a_pipeline_is_adapted():
    head = LogisticRegression(max_iter=1000)
    pipeline = make_pipeline(make_extractor(engine="torch"), head).fit(X, y)
    before = pipeline.predict_proba(T)
    adapted = alone(pipeline, T)
    expected = pipeline[-1].predict_proba(alone(pipeline[0], T).transform(T))
    assert_array_equal(adapted.predict_proba(T), expected)
    assert_array_equal(pipeline.predict_proba(T), before)
    adapted.fit(X, 1 - y)
    assert_array_equal(pipeline.predict_proba(T), before)


def test_earlier_steps_prepare_the_target():
    negative = FunctionTransformer(lambda pictures: 255 - pictures)
    pipeline = Pipeline([("negative", negative), ("classify", small())]).fit(X, y)
    adapted = with_source(pipeline, T, batch_size=10)
    expected = with_source(pipeline[-1], 255 - T, 255 - X, batch_size=10)
    assert_array_equal(adapted.predict_proba(T), expected.predict_proba(255 - T))


def test_pipelines_without_a_step_of_ours_are_told():
    union = FeatureUnion([("one", make_extractor())])
    with pytest.raises(TypeError, match=r"the steps featureunion \(FeatureUnion\), logistic"):
        adapt_batch_norm(make_pipeline(union, LogisticRegression()), T)


# Input that can't be used.


def test_networks_without_batch_norm_are_told():
    fitted = small(backbone="squeezenet1_1").fit(X, y)
    with pytest.raises(ParameterError, match=r"squeezenet1_1, has none. Use a backbone with"):
        adapt_batch_norm(fitted, T)


def test_other_estimators_are_told():
    with pytest.raises(TypeError, match=r"got LogisticRegression. Of a search, give the best_est"):
        adapt_batch_norm(LogisticRegression(), T)


@pytest.mark.parametrize("estimator", [make_extractor(), small(), make_pipeline(small())])
def test_estimators_that_are_not_fitted_are_told(estimator):
    with pytest.raises(NotFittedError):
        adapt_batch_norm(estimator, T)


@pytest.mark.parametrize("n", [-1, float("inf"), float("nan"), "16", None, True])
def test_the_weight_of_the_source_is_a_number_of_pictures(extractor, n):
    with pytest.raises(ParameterError, match="n_source is a number of pictures, 0 or more"):
        adapt_batch_norm(extractor, T, n_source=n)


@pytest.mark.parametrize("n", [0, 1, 8.0, None, True])
def test_several_pictures_are_normalised_together(extractor, n):
    with pytest.raises(ParameterError, match="at least 2"):
        adapt_batch_norm(extractor, T, batch_size=n)


def test_one_picture_needs_the_source(extractor):
    with pytest.raises(ParameterError, match="n_source=0 takes the statistics of X_target alone"):
        alone(extractor, T[:1])
    assert np.isfinite(adapt_batch_norm(extractor, T[:1]).transform(T)).all()


def test_every_picture_must_be_readable(tmp_path):
    paths = save_pictures(T, tmp_path)
    fitted = make_extractor(on_error="nan").fit(paths)
    (tmp_path / "picture_3.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match="picture_3"):
        adapt_batch_norm(fitted, paths)

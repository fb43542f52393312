"""A fit is not affected by weights, lists and parameters that change afterwards."""

import pickle

import pytest
from numpy.testing import assert_array_equal
from safetensors.torch import load_file, save_file
from skorch.callbacks import Callback

from sktransfer.backbones.networks import build_random
from sktransfer.exceptions import ImageError, ParameterError, WeightsError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier

NAME = make_classifier().backbone


@pytest.fixture(scope="module")
def state():
    return {key: value.contiguous() for key, value in build_random(NAME, 0).state_dict().items()}


@pytest.fixture
def weights(tmp_path, state):
    save_file(state, path := tmp_path / "weights.safetensors")
    return path


def replace_weights(path, key="layers.0.weight"):
    state = load_file(path)
    state[key] = state[key] + 1
    path.unlink()
    save_file(state, path)


def unpickled(classifier):
    return pickle.loads(pickle.dumps(classifier))


@pytest.mark.parametrize("way", [lambda classifier: classifier, unpickled])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("key", ["layers.0.weight", "classifier.1.weight"])
def test_a_fit_does_not_go_on_with_other_weights(pictures, weights, way, method, key):
    classifier = make_classifier(weights=weights, warm_start=True).fit(*pictures)
    expected = classifier.predict_proba(pictures[0])
    going_on = way(classifier)
    replace_weights(weights, key)
    with pytest.raises(WeightsError, match="not the ones that this estimator"):
        getattr(going_on, method)(*pictures)
    assert_array_equal(classifier.predict_proba(pictures[0]), expected)
    if going_on is classifier:  # the failed call has left the earlier fit unchanged
        assert classifier.n_iter_ == len(classifier.history_)
    else:
        with pytest.raises(WeightsError, match="not the ones"):
            going_on.predict(pictures[0])


@pytest.mark.parametrize("way", [lambda classifier: classifier, unpickled])
def test_a_fit_goes_on_with_the_same_weights_written_again(pictures, weights, state, way):
    classifier = way(make_classifier(weights=weights, optimizer="adamw").partial_fit(*pictures))
    weights.unlink()
    save_file(state, weights)
    classifier.partial_fit(*pictures)
    assert {row["phase"] for row in classifier.history_} == {"head", "probe"}


class KilledError(Exception):
    """Raised to stop training as if the process had been killed."""


class Kill(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KilledError


def begin(folder, **parameters):
    with pytest.raises(KilledError):
        make_classifier(**parameters, checkpoint_dir=folder, callbacks=[Kill()]).fit(
            *make_pictures(12)
        )
    return set(folder.iterdir())


@pytest.mark.parametrize("other", [{"weights": "others.safetensors"}, {"pooling": "avg"}])
def test_a_fit_of_another_network_is_not_taken_up(tmp_path, monkeypatch, weights, other, state):
    monkeypatch.chdir(tmp_path)
    save_file({key: value * 1.1 for key, value in state.items()}, "others.safetensors")
    settings = {"weights": weights, "augment": "light", "max_epochs": 3, "optimizer": "adamw"}
    theirs = begin(tmp_path / "shared", **settings)
    X, y = make_pictures(12)
    mine = {**settings, **other}
    trained = make_classifier(**mine, checkpoint_dir=tmp_path / "shared").fit(X, y)
    assert_array_equal(trained.predict_proba(X), make_classifier(**mine).fit(X, y).predict_proba(X))
    assert set((tmp_path / "shared").iterdir()) == theirs


def test_a_new_fit_takes_other_weights(pictures, weights):
    classifier = make_classifier(weights=weights).fit(*pictures)
    before = classifier.decision_function(pictures[0])
    replace_weights(weights)
    assert (classifier.fit(*pictures).decision_function(pictures[0]) != before).any()


def test_a_list_of_layers_that_changes_after_fit_is_noticed(pictures):
    layers = [4]
    classifier = make_classifier(hidden_layer_sizes=layers, max_epochs=1, warm_start=True).fit(
        *pictures
    )
    layers[0] = 8
    with pytest.raises(ParameterError, match=r"hidden_layer_sizes was \(4,\) in it and is \(8,\)"):
        classifier.fit(*pictures)
    classifier.set_params(hidden_layer_sizes=4).fit(*pictures)  # means the same as [4]
    assert classifier.net_.module_.head[1].out_features == 4


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size.*0"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"engine": "onnx"}, ValueError, "engine.*onnx"),
        ({"tta": 1}, ValueError, "tta.*1"),
        ({"image_shape": (8,)}, ImageError, "image_shape.*8"),
    ],
)
def test_bad_parameters_are_told_after_fit_too(pictures, parameters, error, words):
    classifier = make_classifier().fit(*pictures).set_params(**parameters)
    for method in (classifier.predict, classifier.predict_proba, classifier.decision_function):
        with pytest.raises(error, match=words):
            method(pictures[0])


def test_a_shape_that_is_set_after_fit_waits_for_the_next(pictures):
    X, y = pictures
    rows = X.reshape(len(X), -1)
    classifier = make_classifier(image_shape=(32, 32, 3)).fit(rows, y)
    expected = classifier.predict_proba(rows)
    classifier.set_params(image_shape=(16, 64, 3))
    assert_array_equal(classifier.predict_proba(rows), expected)


@pytest.mark.parametrize("head_init", ["probe", "random"])
def test_stages_train_slowly_with_a_head_that_goes_on(pictures, head_init):
    classifier = make_classifier(warm_start=True, head_init=head_init).fit(*pictures)
    classifier.set_params(unfreeze_depth=1, max_epochs=2, schedule=None).fit(*pictures)
    assert classifier.history_[-1]["phase"] == "fine-tune"
    assert classifier.history_[-1]["lr"] == pytest.approx(3e-4)

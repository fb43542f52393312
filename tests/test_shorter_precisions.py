"""In bfloat16 engines give values of their own: a fit and its predictions use the same one."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer import cache_info
from sktransfer._common import process_memory
from sktransfer.activations.engines import choice as engine_module
from sktransfer.activations.engines import openvino_engine
from sktransfer.activations.engines.choice import TORCH, EngineChoice
from sktransfer.activations.engines.interface import EngineKind
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.exceptions import DeviceWarning, EngineUnavailableError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

X, Y = make_pictures(24)
FEW = 2

BFLOAT16 = {"precision": "bfloat16"}
extractor = partial(make_extractor, **BFLOAT16)
classifier = partial(make_classifier, **BFLOAT16)


class Shifted:
    """torch in float32, times a number."""

    n_bytes = 0

    def __init__(self, network, factor):
        self._engine, self._factor = TorchEngine(network, "cpu"), factor

    def __call__(self, batch):
        return self._engine(batch) * self._factor


class Own(EngineKind):
    """An engine whose values in bfloat16 are 1.25 times torch's."""

    name = "own"
    title = "Own"
    installed = True
    in_hardware = True
    works = True

    def __init__(self):
        self.starts = []

    def unavailable(self, device, precision):
        if not self.installed:
            return "engine='own' is not installed."
        return "It is not in hardware." if self.simulates(device, precision) else None

    def works_in_this_process(self):
        return self.works

    def simulates(self, device, precision):
        return precision == "bfloat16" and not self.in_hardware

    def own_arithmetic(self, precision):
        return "own 1" if precision == "bfloat16" else ""

    def worth_it(self, network, n_pictures):
        return n_pictures >= 10

    def prepare(self, network, start, example, *, precision, **options):
        self.starts.append((precision, start))
        return Shifted(network.after(start), 1.25 if precision == "bfloat16" else 1.0)


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """The engine that "auto" prefers."""
    kind = Own()
    monkeypatch.setattr(engine_module, "KINDS", (kind, TORCH))
    monkeypatch.setattr(process_memory, "_kept", type(process_memory._kept)())
    engine_module._log_once.cache_clear()
    return kind


def full_features(**parameters):
    return make_extractor(engine="torch", **parameters).fit_transform(X)


def close(features, expected):
    assert_allclose(features, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def differ(features, expected):
    """Return True if features differ by more than any rounding in bfloat16."""
    return np.abs(features - expected).max() > 0.1 * np.abs(expected).max()


# Fit and predict.


def test_the_number_of_pictures_does_not_choose_the_engine():
    fitted = extractor().fit(X)
    close(fitted.transform(X), 1.25 * full_features())
    close(fitted.transform(X[:FEW]), 1.25 * full_features()[:FEW])
    close(extractor().fit(X[:FEW]).transform(X), 1.25 * full_features())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unfreeze_depth": 1, "max_epochs": 2, "lr": 1e-3},
        {"unfreeze_depth": 2, "max_epochs": 2, "lr": 1e-3},
        {"unfreeze_depth": "all", "max_epochs": 1, "lr": 1e-3},
        {"dropout": 0.5, "mc_dropout": 3, "max_epochs": 2, "lr": 1e-2},
        {"tta": 2},
        {"augment": "light", "n_views": 2},
        {"validation_fraction": 0.25, "calibrate": "temperature"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.TrainingWarning")
def test_few_pictures_are_predicted_as_many_are(options):
    fitted = classifier(**options).fit(X, Y)
    many, few = fitted.predict_proba(X), fitted.predict_proba(X[:FEW])
    # Autocast of trained stages rounds to three digits, at other places in another batch.
    tolerance = 2e-2 if "unfreeze_depth" in options else 1e-4
    if "mc_dropout" not in options and "tta" not in options:  # drawn for other rows
        assert_allclose(few, many[:FEW], atol=tolerance)
    assert fitted._model.backbone.choice == EngineChoice("own", "cpu", "bfloat16")


def test_pieces_are_fitted_by_the_engine_that_predicts(own):
    fitted = classifier().partial_fit(X[:FEW], Y[:FEW]).partial_fit(X, Y)
    fitted.predict(X[:1])
    assert own.starts == [("bfloat16", 0)]  # one engine, which serves all calls


def test_an_engine_that_is_set_later_waits_for_the_next_fit():
    fitted = extractor().fit(X)
    expected = fitted.transform(X)
    fitted.set_params(engine="torch")
    assert_array_equal(fitted.transform(X), expected)
    assert differ(fitted.fit_transform(X), expected)


# The cache.


def test_each_engine_has_its_own_activations(tmp_path):
    made = {
        "own": extractor(cache=tmp_path),
        "torch": extractor(engine="torch", cache=tmp_path),
        "float32": make_extractor(cache=tmp_path),
    }
    cold = {name: model.fit_transform(X) for name, model in made.items()}
    assert cache_info(tmp_path).rows == 3 * len(X)
    for name, model in made.items():
        assert_array_equal(model.fit_transform(X), cold[name])
    assert differ(cold["own"], cold["torch"])
    close(cold["own"], 1.25 * cold["float32"])


def test_rows_are_never_mixed(tmp_path):
    extractor(engine="torch", cache=tmp_path).fit_transform(X[:8])
    make_extractor(cache=tmp_path).fit_transform(X[8:16])
    extractor(cache=tmp_path).fit_transform(X[16:])
    close(extractor(cache=tmp_path).fit_transform(X), 1.25 * full_features())


def test_another_version_of_an_engine_has_its_own_activations(tmp_path, monkeypatch):
    extractor(cache=tmp_path).fit_transform(X)
    monkeypatch.setattr(Own, "own_arithmetic", lambda *_: "own 2")
    extractor(cache=tmp_path).fit_transform(X)
    assert cache_info(tmp_path).rows == 2 * len(X)


@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.TrainingWarning")
def test_no_pass_begins_within_a_network(tmp_path, own):
    tuned = {"max_epochs": 1, "lr": 1e-3, "cache": tmp_path}
    for depth in (2, 1):
        classifier(unfreeze_depth=depth, **tuned).fit(X, Y)
    assert own.starts == [("bfloat16", 0)] * 2
    own.starts.clear()
    for depth in (2, 1):
        make_classifier(unfreeze_depth=depth, **tuned).fit(X, Y)
    (_, first), (_, second) = own.starts
    assert (first, second > 0) == (0, True)  # in float32, where all engines agree
    assert cache_info(tmp_path).rows == 4 * len(X)


# Machines and processes that can't do it.


def test_auto_is_float32_where_bfloat16_is_not_in_hardware(own, caplog):
    expected = make_classifier(unfreeze_depth=0).fit(X, Y).predict_proba(X)
    own.in_hardware = False
    for _ in range(2):
        fitted = classifier().fit(X, Y)
        assert_array_equal(fitted.predict_proba(X), expected)
    own.in_hardware = True
    assert_array_equal(fitted.predict_proba(X), expected)
    (line,) = caplog.messages
    assert "no instructions for bfloat16" in line


def test_training_is_in_float32_too_where_bfloat16_is_not_in_hardware(own):
    own.in_hardware = False
    fitted = classifier(unfreeze_depth=1, max_epochs=1, lr=1e-3).fit(X, Y)
    assert fitted._model.net.precision == "float32"


def test_openvino_by_name_is_an_error_where_bfloat16_is_not_in_hardware(monkeypatch):
    monkeypatch.setattr(engine_module, "KINDS", (openvino_engine.OpenVINOKind(), TORCH))
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    monkeypatch.setattr(openvino_engine, "computes_bfloat16", lambda: False)
    for model in (extractor(engine="openvino"), classifier(engine="openvino")):
        with pytest.raises(EngineUnavailableError, match="precision='float32', which is faster"):
            model.fit(X, Y)


UNABLE = [
    ("installed", "engine='own' is not installed"),
    ("in_hardware", "It is not in hardware"),
    ("works", "forked"),
]


@pytest.mark.parametrize(("what", "reason"), UNABLE)
@pytest.mark.parametrize("way", [lambda model: pickle.loads(pickle.dumps(model)), lambda m: m])
def test_a_fitted_model_tells_where_it_computes_otherwise(own, monkeypatch, what, reason, way):
    fitted = extractor().fit(X)
    expected = fitted.transform(X)
    monkeypatch.setattr(own, what, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # opening it is no reason to warn
        opened = way(fitted)
    with pytest.warns(DeviceWarning, match=f"in float32, not in the bfloat16 of its fit.*{reason}"):
        features = opened.transform(X)
    close(features, expected / 1.25)
    monkeypatch.setattr(own, what, True)
    assert_array_equal(opened.transform(X), expected)


def test_a_fit_in_a_forked_process_stays_with_torch(own):
    own.works = False
    fitted = pickle.loads(pickle.dumps(extractor().fit(X)))
    own.works = True
    assert_array_equal(fitted.transform(X), extractor(engine="torch").fit(X).transform(X))


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_model_of_torch_opens_anywhere(own, engine):
    own.installed = False
    fitted = extractor(engine=engine).fit(X)
    expected = fitted.transform(X)
    pickled = pickle.dumps(fitted)
    own.installed = True
    assert_array_equal(pickle.loads(pickled).transform(X), expected)
    own.in_hardware = False
    assert_array_equal(pickle.loads(pickled).transform(X), expected)


# With OpenVINO.


def test_openvino_in_bfloat16(monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    monkeypatch.setattr(engine_module, "KINDS", (openvino_engine.OpenVINOKind(), TORCH))
    monkeypatch.setattr(openvino_engine, "computes_bfloat16", lambda: True)
    fitted = extractor(cache=tmp_path, backbone="squeezenet1_1").fit(X)
    assert fitted._fitted.backbone.choice == EngineChoice("openvino", "cpu", "bfloat16")
    features = fitted.transform(X)
    expected = extractor(engine="torch", backbone="squeezenet1_1").fit_transform(X)
    assert not np.array_equal(features, expected)
    assert torch.allclose(
        torch.from_numpy(features), torch.from_numpy(expected), atol=0.02 * np.abs(expected).max()
    )
    few = fitted.set_params(cache=None).transform(X[:FEW])
    assert_array_equal(few, features[:FEW])
    assert_array_equal(fitted.set_params(cache=tmp_path).transform(X), features)

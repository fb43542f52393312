"""A backbone that is found again, and told where it is not what a fit was with."""

import copy
import pickle

import pytest
import torch
from numpy.testing import assert_array_equal
from torchvision import models

from sktransfer.backbones.networks import build_random
from sktransfer.estimators import fitted_backbone as module
from sktransfer.estimators.fitted_backbone import BackboneReference
from sktransfer.exceptions import WeightsError, WeightsUnavailableError
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

SMALL = {"backbone": "squeezenet1_1", "engine": "torch"}

X, Y = make_pictures(12)


@pytest.fixture(scope="module")
def classifier():
    return make_classifier(**SMALL).fit(X, Y)


@pytest.mark.parametrize("way", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_a_copy_loads_its_backbone_when_it_is_needed(classifier, way, monkeypatch):
    expected = classifier.predict_proba(X)
    asked = []
    original = module.load_backbone
    monkeypatch.setattr(module, "load_backbone", lambda *key: asked.append(key) or original(*key))
    again = way(classifier)
    assert asked == []
    assert_array_equal(again.predict_proba(X), expected)
    assert_array_equal(again.predict_proba(X), expected)
    seed = classifier._model.seeds.weights
    assert asked == [("squeezenet1_1", None, seed, 32, 3)]


def test_a_pickle_tells_weights_that_changed(classifier, monkeypatch):
    pickled = pickle.dumps(classifier)
    original = module.load_backbone

    def other_seed(name, weights, seed, *others):
        return original(name, weights, seed + 1, *others)

    monkeypatch.setattr(module, "load_backbone", other_seed)
    with pytest.raises(WeightsError, match="not the ones that this estimator was fitted with"):
        pickle.loads(pickled).predict(X)


def test_a_digest_is_known_before_and_after_pickling():
    reference = BackboneReference("squeezenet1_1", None, 3)
    again = pickle.loads(pickle.dumps(reference))
    assert again.digest == reference.digest == reference.get().digest
    again.check_same(reference)
    with pytest.raises(WeightsError):
        BackboneReference("squeezenet1_1", None, 4).check_same(reference)


def test_weights_from_a_file_are_found_from_another_folder_or_told(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.save(models.squeezenet1_1().state_dict(), "weights.pth")
    options = {"backbone": "squeezenet1_1", "weights": "weights.pth"}
    extractor = make_extractor(**options).fit(X)
    expected = extractor.transform(X)
    pickled = pickle.dumps(extractor)
    monkeypatch.chdir(tmp_path / "there")
    assert_array_equal(pickle.loads(pickled).transform(X), expected)
    assert extractor.weights == "weights.pth"
    (tmp_path / "here" / "weights.pth").unlink()
    with pytest.raises(
        WeightsUnavailableError, match=r"was fitted with the weights '/.*here.*Put the file"
    ):
        pickle.loads(pickled).transform(X)


def test_a_file_named_default_is_not_what_default_means(tmp_path, monkeypatch):
    options = {"backbone": LITE0, "engine": "torch"}
    expected = make_extractor(**options).fit(X).transform(X)
    monkeypatch.chdir(tmp_path)
    torch.save(build_random(LITE0, seed=0).state_dict(), "DEFAULT")
    extractor = make_extractor(**options).fit(X)
    assert extractor._fitted.backbone.reference.weights == "DEFAULT"
    assert_array_equal(extractor.transform(X), expected)


def test_pickles_of_versions_that_knew_no_size():
    reference = BackboneReference("squeezenet1_1", None, 3)
    old = pickle.loads(pickle.dumps(reference))
    del old.image_size, old._statistics
    assert old.get().digest == reference.digest
    old.check_continues()

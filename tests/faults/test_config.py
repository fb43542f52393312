"""Faults 43 to 53: parameters. Numbers are those of docs/reliability.md."""

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sktransfer import cache_info
from sktransfer.exceptions import (
    BackboneError,
    CacheWarning,
    DeviceUnavailableError,
    TrainingDivergedError,
)
from tests.conftest import make_pictures
from tests.faults.helpers import (
    LABELS,
    PICTURES,
    classifier,
    extractor,
    fitted,
    told,
)

ESTIMATORS = pytest.mark.parametrize("make", [extractor, classifier])


def check_refused_in_fit(estimator, error, match):
    """Assert that a fit raises, which the constructor has not, and leaves no fit."""
    with pytest.raises(error, match=match):
        estimator.fit(PICTURES, LABELS)
    assert not estimator.__sklearn_is_fitted__()


@ESTIMATORS
def test_fault_43_an_unknown_backbone(make):
    estimator = make(backbone="resnet81")
    check_refused_in_fit(estimator, BackboneError, "Did you mean 'resnet18'")


@ESTIMATORS
@pytest.mark.parametrize("device", ["cuda:9", "gpu"])
def test_fault_44_a_device_that_is_not_there(make, device):
    check_refused_in_fit(
        make(device=device), DeviceUnavailableError, f"device='{device}' is not .* Use .*'auto' or"
    )


@ESTIMATORS
@pytest.mark.parametrize("value", [0, -1, "8", 1.5, None])
def test_fault_45_an_impossible_batch_size(make, value):
    check_refused_in_fit(make(batch_size=value), ValueError, "'batch_size' parameter .* must be")
    fine = make().fit(PICTURES, LABELS).set_params(batch_size=value)
    with pytest.raises(ValueError, match=r"'batch_size' parameter .* must be"):
        getattr(fine, "predict" if make is classifier else "transform")(PICTURES)


@pytest.mark.parametrize("stage", ["layer9", ["level1", "layer9"]])
def test_fault_46_an_unknown_stage(stage):
    message = r"stage='layer9' is not a stage of squeezenet1_1.*\['level1', "
    check_refused_in_fit(extractor(stage=stage), BackboneError, message)
    check_refused_in_fit(
        classifier(unfreeze_depth=99), BackboneError, "unfreeze_depth=99 is more than .* has"
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_fault_47_a_learning_rate_of_a_million(optimizer):
    estimator = classifier(optimizer=optimizer, lr=1e6, unfreeze_depth=1, max_epochs=5)
    message = r"The training loss became \w+ in epoch \d at a learning rate of 1e\+06"
    check_refused_in_fit(estimator, TrainingDivergedError, message)
    estimator.set_params(lr="auto", optimizer="auto", unfreeze_depth=0).fit(PICTURES, LABELS)
    before = estimator.predict_proba(PICTURES)
    with pytest.raises(TrainingDivergedError):
        estimator.set_params(lr=1e6, optimizer=optimizer, unfreeze_depth=1).fit(PICTURES, LABELS)
    assert_array_equal(estimator.predict_proba(PICTURES), before)


def test_fault_48_readers_within_a_parallel_search():
    # There is no num_workers: pictures are read by threads, which workers of a search may start,
    # so that nothing has to be dropped, and there is nothing to warn of.
    with pytest.raises(ValueError, match="Invalid parameter 'num_workers'"):
        classifier().set_params(num_workers=2)
    X, y = make_pictures(16)
    grid = {"weight_decay": [1e-4, 1.0]}
    alone = GridSearchCV(classifier(), grid, cv=2).fit(X, y)
    with joblib.parallel_config("threading"):
        found = GridSearchCV(classifier(n_jobs=2), grid, cv=2, n_jobs=2).fit(X, y)
    assert_allclose(found.best_estimator_.predict_proba(X), alone.best_estimator_.predict_proba(X))


def test_fault_49_class_weights_without_a_class():
    # As in scikit-learn, a class that is not named has the weight 1; a label that is in no row,
    # such as a misspelt one, is an error.
    y = np.array(["ant", "bee"])[LABELS]
    named = classifier(class_weight={"ant": 3.0}).fit(PICTURES, y)
    both = classifier(class_weight={"ant": 3.0, "bee": 1.0}).fit(PICTURES, y)
    assert_allclose(named.predict_proba(PICTURES), both.predict_proba(PICTURES))
    for weights in ({"bea": 3.0}, {"ant": 1.0, "bea": 3.0}, {0: 1.0, 1: 3.0}):
        with pytest.raises(
            ValueError, match=r"The classes, \[.*'bee'.*\], are not in class_weight"
        ):
            classifier(class_weight=weights).fit(PICTURES, y)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_fault_50_prediction_before_a_fit(method):
    with pytest.raises(NotFittedError):
        getattr(classifier(), method)(PICTURES)
    with pytest.raises(NotFittedError):
        extractor().transform(PICTURES)


def test_fault_51_sizes_that_were_not_seen_in_the_fit():
    larger, _ = make_pictures(6, size=100)
    smaller = larger[:, ::10, ::5]
    for X in (larger, smaller):
        probabilities = fitted()[1].predict_proba(X)
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert fitted()[0].transform(X).shape == (6, 512)
    # The size of the fit does not matter either.
    other = classifier().fit(np.repeat(np.repeat(PICTURES, 3, axis=1), 3, axis=2), LABELS)
    assert_array_equal(other.predict(PICTURES), fitted()[1].predict(PICTURES))


def test_fault_52_parameters_that_are_set_after_the_fit():
    features, labels = extractor().fit(PICTURES), classifier().fit(PICTURES, LABELS)
    before = features.transform(PICTURES), labels.predict_proba(PICTURES)
    changes = {"backbone": "mnasnet0_5", "image_size": 64, "resize": "pad", "pooling": "max"}
    features.set_params(**changes, stage="level2")
    labels.set_params(**changes, unfreeze_depth=1, max_epochs=2, random_state=5)
    assert_array_equal(features.transform(PICTURES), before[0])
    assert_array_equal(labels.predict_proba(PICTURES), before[1])
    assert features.fit_transform(PICTURES).shape != before[0].shape
    assert not np.allclose(labels.fit(PICTURES, LABELS).predict_proba(PICTURES), before[1])


@pytest.mark.parametrize("size", ["1", "1000000"])
def test_fault_53_a_cache_smaller_than_a_row(tmp_path, monkeypatch, size):
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", size)
    maps = {"stage": "level1", "pooling": "flatten", "image_size": 256}  # of 4 MB
    with told(CacheWarning) as messages:
        found = extractor(cache=tmp_path, **maps).fit_transform(PICTURES[:1])
    assert_array_equal(found, extractor(**maps).fit_transform(PICTURES[:1]))
    assert len(messages) == 1
    assert f"SKTRANSFER_CACHE_SIZE of {int(size):,} bytes, is full" in messages[0]
    monkeypatch.delenv("SKTRANSFER_CACHE_SIZE")
    assert cache_info(tmp_path).rows == 0

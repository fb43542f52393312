import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktransfer.images.sources import as_images
from sktransfer.inspection.explanation import occlusion
from sktransfer.inspection.explanation.occlusion import N_PREDICTIONS, occlusion_maps
from sktransfer.inspection.subject import subject_of
from tests.inspection.explanation.patches import NAME, patch_pictures
from tests.small_estimators import make_classifier, make_extractor

X, LABELS, CORNERS = patch_pictures(8)
SMALL = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}


class Brightness(ClassifierMixin, BaseEstimator):
    """Tells bright from dark pictures by one of their pixels; counts the pictures that it sees."""

    def __init__(self, at=(20, 27)):
        self.at = at

    def fit(self, X, y):
        self.classes_, self.n_seen_, self.forms_ = np.array(["bright", "dark"]), 0, set()
        return self

    def _bright(self, X):
        self.n_seen_ += len(X)
        self.forms_.add(type(X).__name__)
        return np.array([np.asarray(picture)[self.at].mean() / 255 for picture in X])

    def predict(self, X):
        return self.classes_[(self._bright(X) < 0.5).astype(int)]


class WithScores(Brightness):
    def decision_function(self, X):
        return 1 - 2 * self._bright(X)


class WithProbabilities(Brightness):
    def predict_proba(self, X):
        bright = self._bright(X)
        return np.stack([bright, 1 - bright], axis=1)


def one_bright_pixel(**options):
    picture = np.zeros((32, 32, 3), **{"dtype": np.uint8, **options})
    picture[20, 27] = 255
    return picture


def maps_of(model, X, code):
    images = as_images(X)
    return occlusion_maps(subject_of(model, "a test"), X, images, np.full(len(images), code))


@pytest.mark.parametrize("kind", [Brightness, WithScores, WithProbabilities])
def test_hiding_what_decides_is_what_counts(kind):
    model = kind().fit(None, None)
    maps = maps_of(model, [one_bright_pixel()], code=0)
    assert maps.shape == (1, 8, 8)
    # The pixel lies in the cell (5, 6); a patch hides two cells by two.
    assert np.unravel_index(maps[0].argmax(), (8, 8)) == (5, 6)
    assert model.n_seen_ == N_PREDICTIONS == 82
    assert (np.delete(maps[0], slice(4, 7), axis=0) == 0).all()
    assert maps_of(model, [one_bright_pixel()], code=1).min() < 0  # against the other class


def test_each_cell_is_hidden_equally_often():
    corner = np.zeros((32, 32, 3), np.uint8)
    corner[0, 0] = 255
    maps = maps_of(WithScores(at=(0, 0)).fit(None, None), [corner], code=0)
    assert maps[0].argmax() == 0


@pytest.mark.parametrize("X", [one_bright_pixel()[None], one_bright_pixel(dtype=float)[None] / 255])
def test_arrays_stay_arrays(X):
    model = WithScores().fit(None, None)
    maps_of(model, X, 0)
    assert model.forms_ == {"ndarray"}
    model = WithScores().fit(None, None)
    maps_of(model, list(X), 0)
    assert model.forms_ == {"list"}


def test_memory_is_bounded(monkeypatch):
    model = WithScores().fit(None, None)
    whole = maps_of(model, X, 0)
    monkeypatch.setattr(occlusion, "_AT_ONCE", 20 * X[0].nbytes)
    sizes = []
    original = WithScores.decision_function
    monkeypatch.setattr(
        WithScores, "decision_function", lambda self, X: sizes.append(len(X)) or original(self, X)
    )
    np.testing.assert_allclose(maps_of(model, X, 0), whole)
    assert max(sizes) == 21
    assert sum(sizes) == 8 * N_PREDICTIONS


def test_a_backbone_is_shown_its_squares(tmp_path):
    """Patches are put where the network looks, and nothing is left in the cache."""
    wide = np.concatenate([X, X], axis=2)  # (48, 96): the middle is seen
    for model in (
        make_classifier(**SMALL, cache=tmp_path),
        make_pipeline(make_extractor(**SMALL), LogisticRegression()),
    ):
        model.fit(wide, LABELS)
        subject = subject_of(model, "a test")
        images = subject.pictures(wide)
        squares = np.stack([subject.backbone.preprocessing(images.read(row)) for row in range(8)])
        codes = np.arange(8) % 2
        found = occlusion_maps(subject, wide, images, codes)
        expected = occlusion_maps(subject, squares, as_images(squares), codes)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_steps_before_and_after_the_network():
    upside_down = FunctionTransformer(lambda pictures: pictures[:, ::-1])
    turned = make_pipeline(upside_down, make_classifier(**SMALL)).fit(X[:, ::-1], LABELS)
    plain = make_classifier(**SMALL).fit(X, LABELS)
    subject = subject_of(turned, "a test")
    images = subject.pictures(X[:, ::-1])
    codes = np.zeros(8, int)
    np.testing.assert_allclose(
        occlusion_maps(subject, X[:, ::-1], images, codes), maps_of(plain, X, 0), atol=1e-4
    )


def test_a_classifier_that_looks_at_nothing_has_empty_maps():
    model = make_pipeline(FunctionTransformer(lambda X: np.zeros((len(X), 1))), DummyClassifier())
    model.fit(X, LABELS)
    np.testing.assert_array_equal(maps_of(model, X, 0), 0)

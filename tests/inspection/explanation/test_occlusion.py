from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from sktransfer.images.sources import as_images
from sktransfer.inspection.explanation import occlusion
from sktransfer.inspection.explanation.occlusion import N_PREDICTIONS, occlusion_maps
from sktransfer.inspection.subject import subject_of
from tests.inspection.explanation.patches import NAME, PATCH, SIDE, patch_pictures
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


class Sure(Brightness):
    """Has probabilities that round to 0 and 1."""

    def predict_proba(self, X):
        bright = (self._bright(X) >= 0.5).astype(float)
        return np.stack([bright, 1 - bright], axis=1)


@pytest.mark.parametrize(
    "last", [GaussianNB(), SGDClassifier(loss="log_loss", random_state=0)], ids=repr
)
def test_probabilities_that_round_to_1_leave_no_map_empty(last):
    many, labels, _ = patch_pictures(40)
    model = make_pipeline(make_extractor(**SMALL), StandardScaler(), last).fit(many, labels)
    subject, images = subject_of(model, "a test"), as_images(X)
    codes = np.array([model.classes_.tolist().index(label) for label in LABELS])
    assert (model.predict_proba(X)[np.arange(8), codes] == 1).any()
    maps = occlusion_maps(subject, X, images, codes)
    assert (maps.max(axis=(1, 2)) > 0).all()


def test_maps_that_stay_empty_because_probabilities_round_are_logged(caplog):
    dark = np.zeros((32, 32, 3), np.uint8)
    maps = maps_of(Sure().fit(None, None), [one_bright_pixel(), dark], code=0)
    assert maps[0].max() > 0
    np.testing.assert_array_equal(maps[1], 0)
    assert "1 of 2 pictures have a probability of exactly 0 or 1" in caplog.text
    caplog.clear()
    maps_of(WithScores().fit(None, None), [one_bright_pixel(), dark], code=0)
    assert not caplog.text


@pytest.mark.parametrize("n_classes", [3, 4])
def test_scores_of_pairs_are_not_taken_for_scores_of_classes(n_classes):
    """Three classes have three pairs, four have six."""
    rng = np.random.default_rng(0)
    colours = np.array([[230, 40, 40], [40, 60, 230], [40, 220, 40], [230, 220, 30]])
    many = np.repeat(rng.integers(60, 200, (80, SIDE, SIDE, 1), dtype=np.uint8), 3, axis=3)
    y, corners = np.arange(80) % n_classes, rng.integers(0, SIDE - PATCH + 1, (80, 2))
    for picture, (top, left), label in zip(many, corners, y, strict=True):
        picture[top : top + PATCH, left : left + PATCH] = colours[label]
    svc = SVC(decision_function_shape="ovo")
    model = make_pipeline(make_extractor(**SMALL), StandardScaler(), svc).fit(many, y)
    rows = np.arange(8) + 2 * n_classes
    subject, images = subject_of(model, "a test"), as_images(many[rows])
    maps = occlusion_maps(subject, many[rows], images, y[rows])
    assert (maps.max(axis=(1, 2)) > 0).all()
    for each, (top, left) in zip(maps, corners[rows], strict=True):
        peak = (np.array(np.unravel_index(each.argmax(), (8, 8))) + 0.5) * SIDE / 8
        assert (abs(peak - [top + PATCH / 2, left + PATCH / 2]) <= PATCH).all()


def test_each_of_several_labels_has_its_own_evidence():
    class Several(Brightness):
        def predict_proba(self, X):
            bright = self._bright(X)
            return np.stack([np.full(len(X), 0.9), bright / 2 + 0.25], axis=1)

    model = Several().fit(None, None)
    subject = replace(subject_of(model, "a test"), multilabel=True)
    pictures = [one_bright_pixel()] * 2
    maps = occlusion_maps(subject, pictures, as_images(pictures), np.array([0, 1]))
    np.testing.assert_array_equal(maps[0], 0)
    assert maps[1].max() > 0


def test_the_size_of_each_picture_is_asked_for_once():
    """The cost of batches must not grow with the square of the number of pictures."""
    asked = []

    class Counted(np.ndarray):
        @property
        def nbytes(self):
            asked.append(1)
            return 10

    shown = occlusion._Shown(lambda row: X[row].view(Counted), list, None, None, False)
    assert sum(len(rows) for rows, _ in occlusion._batches(shown, 8)) == 8 * N_PREDICTIONS
    assert len(asked) == 8 * N_PREDICTIONS

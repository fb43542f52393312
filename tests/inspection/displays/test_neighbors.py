from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.exceptions import ParameterError
from sktransfer.inspection import NeighborsDisplay
from sktransfer.inspection.displays import neighbors
from sktransfer.inspection.displays.gallery import RIGHT
from tests.conftest import make_pictures, save_pictures
from tests.inspection.conftest import texts_of
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(12)
LABELS = np.array(["red", "green"])[y]


@pytest.fixture(scope="module")
def model():
    return make_classifier().fit(X, LABELS)


def pipeline():
    return make_pipeline(make_extractor(), StandardScaler(), LogisticRegression()).fit(X, LABELS)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("is_pipeline", [False, True])
def test_a_training_picture_is_nearest_to_itself(model, metric, is_pipeline):
    display = NeighborsDisplay.from_estimator(
        pipeline() if is_pipeline else model, X[3:6], X, LABELS, n_neighbors=2, metric=metric
    )
    assert display.neighbors[:, 0].tolist() == [3, 4, 5]
    np.testing.assert_allclose(display.distances[:, 0], 0, atol=1e-2)
    assert display.axes_.shape == (3, 3)
    np.testing.assert_array_equal(display.axes_[1, 1].images[0].get_array(), X[4])
    first = texts_of(display.axes_)[:2]
    assert first == [[LABELS[3], "predicted"], [LABELS[3], "0.00"]]
    if is_pipeline:
        return
    assert (display.distances[:, 1] > 0).all()


def test_distances_are_those_of_the_features():
    model = pipeline()
    display = NeighborsDisplay.from_estimator(model, X[:1], X[1:], LABELS[1:], n_neighbors=11)
    features = model[:-1].transform(X).astype(float)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    expected = np.sort(1 - features[1:] @ features[0])
    np.testing.assert_allclose(display.distances[0], expected, atol=1e-5)


def test_several_labels():
    indicator = np.stack([y, 1 - y, np.ones(12, int)], axis=1)
    indicator[0, 2] = 0
    model = make_classifier(loss="binary_cross_entropy").fit(X, indicator)
    display = NeighborsDisplay.from_estimator(model, X[:2], X, indicator, n_neighbors=1)
    assert display.neighbor_labels == [["1"], ["0, 2"]]


def test_labels_of_another_type_are_the_same_labels():
    model = make_classifier().fit(X, y.astype(float))
    display = NeighborsDisplay.from_estimator(model, X[:2], X, y, n_neighbors=1)
    assert display.neighbor_labels == [["0.0"], ["1.0"]]
    assert [ax.texts[0].get_color() for ax in display.axes_[:, 1]] == [RIGHT, RIGHT]


def test_sparse_indicators():
    indicator = np.stack([y, 1 - y], axis=1)
    model = make_classifier(loss="binary_cross_entropy").fit(X, indicator)
    display = NeighborsDisplay.from_estimator(model, X[:2], X, csr_array(indicator), n_neighbors=1)
    assert display.neighbor_labels == [["1"], ["0"]]


def test_training_pictures_that_are_gone_are_grey_and_counted(tmp_path):
    paths = save_pictures(X, tmp_path)
    model = make_classifier(cache=tmp_path / "cache").fit(paths, LABELS)
    # Features are in memory already when a file vanishes, so it is removed before thumbnails.
    original = neighbors.thumbnails

    def without_one(*arguments):
        Path(paths[3]).unlink(missing_ok=True)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "thumbnails", without_one)
        display = NeighborsDisplay.from_estimator(model, paths[4:6], paths, LABELS, n_neighbors=12)
    assert display.unreadable == [3]  # though it is near to both pictures
    assert display.figure_._suptitle.get_text().endswith("; 1 can't be read")


def test_bad_input(model, monkeypatch):
    find = NeighborsDisplay.from_estimator
    with pytest.raises(ParameterError, match="n_neighbors=13 is more than there are"):
        find(model, X[:1], X, LABELS, n_neighbors=13)
    with pytest.raises(ParameterError, match="metric must be one of"):
        find(model, X[:1], X, LABELS, metric="manhattan")
    with pytest.raises(ParameterError, match="n_neighbors must be a whole number"):
        find(model, X[:1], X, LABELS, n_neighbors=0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        find(model, X[:1], X, LABELS[:4])
    with pytest.raises(NotFittedError):
        find(make_classifier(), X[:1], X, LABELS)
    other = CalibratedClassifierCV(make_classifier(), cv=2).fit(X, LABELS)
    with pytest.raises(ParameterError, match="CalibratedClassifierCV has none that can be found"):
        find(other, X[:1], X, LABELS)
    monkeypatch.setattr(neighbors, "MOST_ROWS", 11)
    with pytest.raises(ParameterError, match="at most 11 training pictures; got 12"):
        find(model, X[:1], X, LABELS)

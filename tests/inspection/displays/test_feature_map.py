import sys
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.exceptions import ParameterError
from sktransfer.inspection import FeatureMapDisplay
from sktransfer.inspection.displays import feature_map
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(24, n_classes=3)
LABELS = np.array(["red", "green", "blue"])[y]
FEATURES = np.random.default_rng(0).normal(size=(24, 6)) + 5 * y[:, None]


def test_principal_components():
    display = FeatureMapDisplay.from_features(FEATURES, LABELS)
    expected = PCA(2).fit(FEATURES)
    np.testing.assert_allclose(abs(display.points), abs(expected.transform(FEATURES)), atol=1e-6)
    share = f"component 1, {expected.explained_variance_ratio_[0]:.0%} of the variance"
    assert display.ax_.get_xlabel() == share
    assert list(display.scatters_) == ["blue", "green", "red"]
    np.testing.assert_allclose(
        display.scatters_["red"].get_offsets(), display.points[LABELS == "red"]
    )
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["blue", "green", "red"]


@pytest.mark.parametrize("n", [4, 24])
def test_tsne(n):
    display = FeatureMapDisplay.from_features(FEATURES[:n], LABELS[:n], method="tsne")
    again = FeatureMapDisplay.from_features(FEATURES[:n], LABELS[:n], method="tsne")
    np.testing.assert_array_equal(display.points, again.points)
    assert display.explained is None
    assert display.ax_.get_ylabel() == "t-SNE 2"


def test_umap_is_asked_for_two_dimensions(monkeypatch):
    # umap-learn itself takes a minute to compile its functions.
    class UMAP:
        def __init__(self, **parameters):
            self.parameters = parameters

        def fit_transform(self, features):
            assert self.parameters["n_neighbors"] == 15
            return features[:, :2]

    module = ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(feature_map, "find_spec", lambda name: name)
    assert FeatureMapDisplay.from_features(FEATURES, method="umap").points.shape == (24, 2)
    monkeypatch.setattr(feature_map, "find_spec", {}.get)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        FeatureMapDisplay.from_features(FEATURES, method="umap")


@pytest.mark.parametrize(
    "estimator",
    [
        lambda: make_extractor().fit(X),
        lambda: make_classifier().fit(X, LABELS),
        lambda: make_pipeline(make_extractor(), StandardScaler(), LogisticRegression()).fit(
            X, LABELS
        ),
    ],
)
def test_of_estimators(estimator):
    estimator = estimator()
    display = FeatureMapDisplay.from_estimator(estimator, X, LABELS, n_thumbnails=2)
    assert list(display.scatters_) == ["blue", "green", "red"]
    assert len(display.pictures) == len(display.picture_rows) == 2
    without = FeatureMapDisplay.from_estimator(estimator, X)
    if hasattr(estimator, "predict"):
        np.testing.assert_array_equal(without.labels, estimator.predict(X))
    else:
        assert list(without.scatters_) == ["pictures"]
        assert without.ax_.get_legend() is None


def test_thumbnails_do_not_cover_each_other():
    display = FeatureMapDisplay.from_features(FEATURES, LABELS, X, n_thumbnails=24)
    display.figure_.canvas.draw()
    boxes = [box.get_window_extent() for box in display.ax_.artists]
    assert 2 < len(boxes) == len(display.pictures) < 24
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    np.testing.assert_array_equal(display.pictures[0], X[display.picture_rows[0]])


def test_given_axes_keep_their_figure():
    ax = plt.figure(figsize=(3, 3)).subplots()
    display = FeatureMapDisplay.from_features(FEATURES, LABELS, ax=ax, s=5)
    assert display.ax_ is ax
    assert display.figure_.get_size_inches().tolist() == [3, 3]
    assert display.scatters_["red"].get_sizes() == [5]


def test_of_many_classes_the_smallest_are_one_group():
    labels = np.r_[np.arange(60), np.arange(60)[5:], np.zeros(5)]
    points = np.random.default_rng(0).normal(size=(120, 3))
    display = FeatureMapDisplay.from_features(points, labels)
    groups = list(display.scatters_)
    assert groups[0] == "11 others"
    assert len(groups) == 50
    assert {1.0, 2.0, 3.0, 4.0}.isdisjoint(groups)
    styles = {
        (tuple(each.get_facecolor()[0]), each.get_paths()[0].vertices.tobytes())
        for each in display.scatters_.values()
    }
    assert len(styles) == 50


def test_labels_stay_text():
    labels = np.array(["$a", "<b>", "c\nd", "_e"])[np.arange(24) % 4]
    display = FeatureMapDisplay.from_features(FEATURES, labels)
    display.figure_.canvas.draw()
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [r"\$a", "<b>", "_e", "c d"]


def test_one_feature_and_equal_features():
    FeatureMapDisplay.from_features(FEATURES[:, :1], LABELS).figure_.canvas.draw()
    for method in ("pca", "tsne"):
        equal = FeatureMapDisplay.from_features(
            np.ones((8, 3)), X=X[:8], n_thumbnails=3, method=method
        )
        assert len(equal.pictures) == 1
        equal.figure_.canvas.draw()


def test_one_feature_by_tsne():
    display = FeatureMapDisplay.from_features(FEATURES[:, :1], method="tsne")
    assert display.points.shape == (24, 2)


@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_labels_are_no_class(missing):
    labels = np.array([0.0, 1.0, missing] * 8, dtype=object if missing is None else float)
    with pytest.raises(ValueError, match="NaN or None, first in row 2"):
        FeatureMapDisplay.from_features(FEATURES, labels)


@pytest.mark.parametrize("labels", [None, LABELS])
@pytest.mark.parametrize("style", [{"facecolors": "none"}, {"facecolor": "none"}, {"c": "red"}])
def test_points_in_the_users_colours(labels, style):
    display = FeatureMapDisplay.from_features(FEATURES, labels, X, n_thumbnails=3, **style)
    display.figure_.canvas.draw()
    scatter = next(iter(display.scatters_.values()))
    if "c" in style:
        np.testing.assert_allclose(scatter.get_facecolor(), [[1, 0, 0, 1]])
    else:  # rings in the colour of the class
        assert not len(scatter.get_facecolor())
        assert not np.allclose(scatter.get_edgecolor(), 1)


def test_points_coloured_by_numbers():
    display = FeatureMapDisplay.from_features(FEATURES, X=X, n_thumbnails=3, c=np.arange(24))
    display.figure_.canvas.draw()
    scatter = display.scatters_["pictures"]
    frame = display.ax_.artists[0].patch.get_edgecolor()
    np.testing.assert_allclose(frame, scatter.to_rgba(display.picture_rows[:1])[0])


@pytest.mark.parametrize("form", [{"image_shape": (32, 32, 3)}, {"in_channels": 5}])
def test_pictures_are_read_as_the_extractor_reads_them(form):
    pictures = X.reshape(24, -1) if "image_shape" in form else np.tile(X, 2)[..., :5]
    extractor = make_extractor(**form).fit(pictures)
    display = FeatureMapDisplay.from_estimator(extractor, pictures, n_thumbnails=3)
    assert [picture.shape for picture in display.pictures] == [(32, 32, 3)] * len(display.pictures)
    np.testing.assert_array_equal(display.pictures[0], X[display.picture_rows[0]])


def test_a_classifier_of_several_labels_has_one_colour():
    indicator = np.stack([y > 0, y > 1], axis=1).astype(int)
    model = make_classifier(loss="binary_cross_entropy").fit(X, indicator)
    assert list(FeatureMapDisplay.from_estimator(model, X).scatters_) == ["pictures"]


@pytest.mark.parametrize("label", ["$5-$10", "$\\frac{$", "caf\udce9", "_hidden"])
def test_any_label_is_drawn_as_text(label):
    display = FeatureMapDisplay.from_features(FEATURES, np.where(y, label, "x"))
    display.figure_.canvas.draw()
    assert len(display.ax_.get_legend().get_texts()) == 2


def test_bad_input():
    plot = FeatureMapDisplay.from_features
    with pytest.raises(ParameterError, match="method must be one of"):
        plot(FEATURES, method="isomap")
    with pytest.raises(ParameterError, match="n_thumbnails must be"):
        plot(FEATURES, n_thumbnails=-1)
    with pytest.raises(ParameterError, match=r"n_thumbnails=3 needs the pictures: X=\."):
        plot(FEATURES, n_thumbnails=3)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plot(FEATURES, LABELS[:3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plot(FEATURES, LABELS, X[:3], n_thumbnails=2)
    with pytest.raises(ValueError, match="NaN"):
        plot(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="minimum of 4"):
        plot(FEATURES[:3])
    with pytest.raises(ParameterError, match="indicator of several"):
        plot(FEATURES, np.eye(24, 3))
    with pytest.raises(NotFittedError):
        FeatureMapDisplay.from_estimator(make_extractor(), X)
    with pytest.raises(TypeError, match="FeatureMapDisplay takes a fitted classifier"):
        FeatureMapDisplay.from_estimator(PCA(), X)

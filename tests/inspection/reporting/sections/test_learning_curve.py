import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sktransfer.inspection.reporting.sections.learning_curve import section
from tests.conftest import make_pictures, save_pictures
from tests.inspection.reporting.materials import material_of, usual
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(40)


def of(model, paths, folder):
    train = {"X_train": paths[:30], "y_train": y[:30]}
    cache = str(folder / "cache")
    return material_of(model, paths[30:], y[30:], **train, cache=cache, learning_curve=True)


def test_only_if_asked():
    assert section(usual()) is None


def test_each_picture_runs_once_for_all_fits(tmp_path, decoded):
    paths = np.array(save_pictures(X, tmp_path))
    model = make_classifier().fit(paths[:30], y[:30])
    found = of(model, paths, tmp_path)
    accuracy_of_all = np.mean(model.predict(paths[30:]) == y[30:])
    decoded.clear()
    points = section(found).blocks[2].rows
    assert [row[0] for row in points] == [4, 6, 12, 20, 30]
    assert points[-1][1] == accuracy_of_all
    assert all(low <= accuracy <= high for _, accuracy, low, high in points)
    assert model.cache is None
    # Those of the test were decoded for the report already.
    assert sorted(decoded) == sorted(paths[:30])


def test_pipelines_are_fitted_whole(tmp_path):
    paths = np.array(save_pictures(X, tmp_path))
    model = make_pipeline(make_extractor(), LogisticRegression()).fit(paths[:30], y[:30])
    assert len(section(of(model, paths, tmp_path)).blocks[2].rows) == 5


def test_fits_that_fail_leave_the_rest(tmp_path):
    """Five neighbours need more than the four rows of the smallest set."""
    paths = np.array(save_pictures(X, tmp_path))
    model = make_pipeline(make_extractor(), KNeighborsClassifier(5)).fit(paths[:30], y[:30])
    blocks = section(of(model, paths, tmp_path)).blocks
    assert [row[0] for row in blocks[2].rows] == [6, 12, 20, 30]
    assert blocks[-1].text.startswith("No fit on 4 training pictures: ")
    assert blocks[-1].is_warning


def test_training_pictures_that_cannot_be_read_are_left_out(tmp_path):
    paths = np.array(save_pictures(X, tmp_path))
    model = make_classifier().fit(paths[:30], y[:30])
    (tmp_path / "picture_3.png").unlink()
    points = section(of(model, paths, tmp_path)).blocks[2].rows
    assert points[-1][0] == 29


def test_a_frozen_classifier_has_no_curve(tmp_path):
    paths = np.array(save_pictures(X, tmp_path))
    frozen = FrozenEstimator(make_classifier().fit(paths[:30], y[:30]))
    (text,) = section(of(frozen, paths, tmp_path)).blocks
    assert "frozen" in text.text

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.inspection.reporting.material import material
from sktransfer.inspection.reporting.sections.learning_curve import section
from tests.conftest import make_pictures, save_pictures
from tests.inspection.reporting.materials import usual
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(40)


def of(model, paths):
    return material(
        *(model, paths[30:], y[30:]),
        X_train=paths[:30],
        y_train=y[:30],
        groups=None,
        learning_curve=True,
        card={},
        seed=0,
    )


def test_only_if_asked():
    assert section(usual()) is None


def test_each_picture_runs_once_for_all_fits(tmp_path, decoded):
    paths = np.array(save_pictures(X, tmp_path))
    model = make_classifier().fit(paths[:30], y[:30])
    found = of(model, paths)
    decoded.clear()
    points = section(found).blocks[2].rows
    assert [row[0] for row in points] == [4, 6, 12, 20, 30]
    assert points[-1][1] == np.mean(model.predict(paths[30:]) == y[30:])
    assert all(low <= accuracy <= high for _, accuracy, low, high in points)
    assert model.cache is None
    # Files are read again to know them by their content, but not decoded again.
    assert len(decoded) <= 2 * len(paths)


def test_pipelines_are_fitted_whole(tmp_path):
    paths = np.array(save_pictures(X, tmp_path))
    model = make_pipeline(make_extractor(), LogisticRegression()).fit(paths[:30], y[:30])
    assert len(section(of(model, paths)).blocks[2].rows) == 5

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.inspection.reporting.sections.speed import section
from tests.conftest import make_pictures, save_pictures
from tests.inspection.reporting.materials import material_of, usual
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(12)


def test_times_are_of_this_machine():
    rows = section(usual()).blocks[0].rows
    assert rows[0][0] == "12 pictures at once, seconds"
    assert all(value >= 0 for _, value in rows)


def test_the_cache_is_not_measured(tmp_path, decoded):
    paths = np.array(save_pictures(X, tmp_path))
    cache = str(tmp_path / "cache")
    model = make_pipeline(make_extractor(cache=cache), LogisticRegression()).fit(paths, y)
    for each in (model, make_classifier(cache=cache).fit(paths, y)):
        found = material_of(each, paths, y)
        decoded.clear()
        section(found)
        assert len(decoded) == len(paths) + 2
        assert cache in repr(each)

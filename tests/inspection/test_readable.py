import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from sktransfer.images.sources import as_images
from sktransfer.inspection.readable import outcome_of_readable, readable_rows
from sktransfer.inspection.subject import subject_of
from tests.conftest import make_pictures, save_pictures
from tests.small_estimators import make_extractor


def test_each_picture_is_tried(tmp_path):
    paths = save_pictures(make_pictures(4)[0], tmp_path)
    (tmp_path / "picture_1.png").write_bytes(b"no picture")
    (tmp_path / "picture_2.png").unlink()
    assert readable_rows(as_images(paths)).tolist() == [True, False, False, True]


def test_features_of_nan_are_no_pictures(tmp_path):
    """Some classifiers predict for rows of NaN, which say nothing about a picture."""
    paths = save_pictures(make_pictures(12)[0], tmp_path)
    model = make_pipeline(make_extractor(on_error="nan"), HistGradientBoostingClassifier())
    subject = subject_of(model.fit(paths, [0, 1] * 6), "a test")
    (tmp_path / "picture_1.png").write_bytes(b"no picture")
    readable, predictions, probabilities = outcome_of_readable(
        subject, paths, subject.pictures(paths), "X"
    )
    assert np.flatnonzero(~readable).tolist() == [1]
    assert len(predictions) == len(probabilities) == 11

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from sktransfer.exceptions import ParameterError
from tests.conftest import make_pictures, save_pictures
from tests.inspection.reporting.materials import (
    EXPECTED,
    SURE,
    TRUE,
    material_of,
    pictures_of,
    told,
    usual,
)
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(16)


def test_predictions_probabilities_and_labels():
    found = usual()
    assert found.y_pred.tolist() == EXPECTED.tolist()
    np.testing.assert_allclose(found.probabilities, SURE)
    assert found.labels == ["ant", "bee", "cat"]
    assert np.flatnonzero(~found.right).tolist() == [3, 7, 11]
    assert found.true.tolist() == [["ant", "bee", "cat"].index(label) for label in TRUE]
    assert found.outcomes.probability_of_truth(3) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "options", [{}, {"tta": 2}, {"unfreeze_depth": 1, "max_epochs": 1}], ids=str
)
def test_one_pass_gives_what_predict_and_predict_proba_give(options, tmp_path, decoded):
    paths = save_pictures(X, tmp_path)
    model = make_classifier(**options).fit(paths, y)
    labels, probabilities = model.predict(paths), model.predict_proba(paths)
    decoded.clear()
    found = material_of(model, paths, y)
    assert len(decoded) == len(paths)
    np.testing.assert_array_equal(found.y_pred, labels)
    np.testing.assert_array_equal(found.probabilities, probabilities)


def test_predictions_are_those_of_predict():
    """An SVC's predictions are not its most probable labels."""
    model = make_pipeline(make_extractor(), SVC()).fit(X, y)
    found = material_of(model, X, y)
    assert found.probabilities is None
    np.testing.assert_array_equal(found.y_pred, model.predict(X))


def test_labels_that_the_classifier_does_not_know_come_last():
    found = told(SURE, [*TRUE[:-1], "dog"])
    assert found.labels == ["ant", "bee", "cat", "dog"]
    assert found.outcomes.probability_of_truth(-1) == 0
    assert not found.right[-1]


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    paths = save_pictures(X, tmp_path)
    model = make_classifier().fit(paths, y)
    expected = model.predict(paths)
    (tmp_path / "picture_3.png").write_bytes(b"broken")
    (tmp_path / "picture_5.png").unlink()
    groups = np.arange(16)
    found = material_of(model, paths, y, groups=groups)
    kept = [i for i in range(16) if i not in (3, 5)]
    assert found.test.rows.tolist() == kept
    assert found.groups.tolist() == kept
    np.testing.assert_array_equal(found.y_pred, expected[kept])
    np.testing.assert_array_equal(found.test.y, y[kept])
    assert len(found.unreadable) == 2
    assert "picture_3.png" in found.unreadable[0]
    assert found.test.name_of(3) == "picture_4.png"


def test_no_picture_can_be_read(tmp_path):
    paths = save_pictures(X, tmp_path)
    model = make_classifier().fit(paths, y)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ParameterError, match="None of the 16 pictures"):
        material_of(model, paths, y)


def test_indicators_stay_indicators():
    several = np.stack([y, 1 - y], axis=1)
    model = make_classifier(loss="binary_cross_entropy").fit(X, several)
    found = material_of(model, X, several)
    assert found.multilabel
    assert found.right.shape == (16,)
    other = make_pipeline(make_extractor(), OneVsRestClassifier(LogisticRegression()))
    assert material_of(other.fit(X, several), X, several).y_pred.shape == (16, 2)
    with pytest.raises(ParameterError, match=r"indicator of shape \(n, 2\)"):
        material_of(model, X, y)


def test_small_pictures_have_their_texts():
    found = usual()
    (picture,) = found.shown(found.test, [3], 4, [["true: bee"]])
    assert picture.pixels.shape == (4, 4, 3)
    assert list(picture.lines) == ["true: bee", "row 3"]
    assert picture.row == 3
    assert picture.alt == "row 3: true: bee"


def test_a_classifier_of_tables_has_no_pictures():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(16, 3))
    model = LogisticRegression().fit(table, y)
    found = material_of(model, table, y)
    assert found.test.pictures is None
    assert found.shown(found.test, [0], 8, [[]]) == []
    assert found.test.name_of(2) == "row 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": y[:-1]}, "16 pictures, but y_test has 15"),
        ({"X_train": X}, "X_train is given without y_train"),
        ({"y_train": y}, "y_train is given without X_train"),
        ({"groups": y[:-1]}, "16 pictures, but groups has 15"),
        ({"y": [None, *y[1:].tolist()]}, "y_test contains NaN or None, first in row 0"),
    ],
)
def test_contradictions_are_errors(options, message):
    model = make_classifier().fit(X, y)
    with pytest.raises(ValueError, match=message):
        material_of(model, X, **{"y": y, **options})


def test_an_estimator_that_is_not_fitted():
    with pytest.raises(NotFittedError):
        material_of(make_classifier(), X, y)


def test_pictures_hold_probabilities():
    assert pictures_of([[0.25, 0.75]])[0, 0, :2, 0].tolist() == [25, 75]

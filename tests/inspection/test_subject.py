import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.subject import subject_of
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(12)
LABELS = np.array(["red", "green"])[y]
INDICATOR = np.stack([y, 1 - y, np.arange(12) % 3 == 0], axis=1)


def pipeline(*steps, labels=LABELS):
    return make_pipeline(make_extractor(), *steps).fit(X, labels)


def test_a_classifier():
    classifier = make_classifier().fit(X, LABELS)
    subject = subject_of(classifier, "a test")
    assert subject.classes.tolist() == ["green", "red"]
    assert (subject.name, subject.multilabel) == ("PretrainedImageClassifier", False)
    assert subject.predict(X).tolist() == classifier.predict(X).tolist()
    np.testing.assert_array_equal(subject.probabilities(X), classifier.predict_proba(X))
    assert subject.backbone.reference.name == "mnasnet0_5"
    assert len(subject.pictures(X)) == 12


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"unfreeze_depth": 1, "max_epochs": 1},
        {"hidden_layer_sizes": (5,), "max_epochs": 1},
        {"dropout": 0.5, "max_epochs": 1},
        {"optimizer": "sgd", "head_init": "random", "max_epochs": 1},
    ],
    ids=str,
)
def test_features_are_what_the_last_layer_takes(parameters):
    classifier = make_classifier(**parameters).fit(X, LABELS)
    features = subject_of(classifier, "a test").features(X)
    head = classifier.net_.module_.head.eval()
    scores = head[-1](torch.from_numpy(features)).detach()
    expected = classifier.predict_log_proba(X)
    np.testing.assert_allclose(scores.log_softmax(1), expected, atol=1e-4)


def test_features_of_a_pipeline_are_what_its_last_step_takes():
    model = pipeline(StandardScaler(), LogisticRegression())
    features = subject_of(model, "a test").features(X)
    np.testing.assert_allclose(
        model[-1].decision_function(features), model.decision_function(X), rtol=1e-4
    )


def test_features_are_read_from_the_cache(tmp_path, picture_files, decoded):
    paths, labels = picture_files
    for model in (
        make_classifier(cache=tmp_path / "cache"),
        make_pipeline(make_extractor(cache=tmp_path / "cache"), LogisticRegression()),
    ):
        model.fit(paths, labels)
        decoded.clear()
        subject_of(model, "a test").features(paths)
        assert decoded == []


def test_steps_within_steps():
    search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2)
    model = make_pipeline(make_pipeline("passthrough", make_extractor()), search).fit(X, LABELS)
    subject = subject_of(model, "a test")
    assert subject.place == 0
    assert isinstance(subject.steps[-1], LogisticRegression)
    assert subject.features(X).shape == (12, 1280)


def test_pictures_come_as_the_steps_before_leave_them():
    upside_down = FunctionTransformer(lambda pictures: pictures[:, ::-1])
    model = make_pipeline(upside_down, make_classifier()).fit(X, LABELS)
    subject = subject_of(model, "a test")
    np.testing.assert_array_equal(subject.pictures(X).read(3), X[3, ::-1])
    assert subject.features(X).shape == (12, 1280)


def test_flattened_rows_are_pictures_by_the_shape_of_the_fit():
    rows = X.reshape(12, -1)
    model = make_classifier(image_shape=(32, 32, 3)).fit(rows, LABELS)
    np.testing.assert_array_equal(subject_of(model, "a test").pictures(rows).read(5), X[5])


def test_files_need_not_exist_any_more():
    subject = subject_of(make_classifier().fit(X, LABELS), "a test")
    assert len(subject.pictures(["gone.png"])) == 1


def test_of_a_search_the_best_estimator():
    search = GridSearchCV(make_classifier(), {"dropout": [0.0]}, cv=2).fit(X, LABELS)
    assert subject_of(search, "a test").estimator is search.best_estimator_
    search = GridSearchCV(make_classifier(), {"dropout": [0.0]}, cv=2, refit=False).fit(X, LABELS)
    # scikit-learn itself counts such a search as not fitted.
    with pytest.raises((NotFittedError, ParameterError)):
        subject_of(search, "a test")


def test_any_other_classifier_predicts():
    model = CalibratedClassifierCV(make_classifier(), cv=2).fit(X, LABELS)
    subject = subject_of(model, "a test")
    assert subject.backbone is None
    assert subject.probabilities(X).shape == (12, 2)
    assert len(subject.pictures(X)) == 12
    with pytest.raises(ParameterError, match="CalibratedClassifierCV has none that can be found"):
        subject.features(X)


def test_without_probabilities_the_reason_is_said():
    subject = subject_of(pipeline(LinearSVC()), "a test")
    assert subject.probabilities(X) is None
    assert "LinearSVC, predicts labels without probabilities" in subject.why_no_probabilities
    assert subject_of(pipeline(LogisticRegression()), "a test").why_no_probabilities == ""


def test_several_labels():
    loss = "binary_cross_entropy"
    for model in (
        make_classifier(loss=loss).fit(X, INDICATOR),
        pipeline(OneVsRestClassifier(LogisticRegression()), labels=INDICATOR),
    ):
        subject = subject_of(model, "a test")
        assert subject.multilabel
        assert subject.classes.tolist() == [0, 1, 2]
        assert subject.predict(X).shape == subject.probabilities(X).shape == (12, 3)


def test_other_forms_of_several_outputs_are_refused():
    with pytest.raises(ParameterError, match="use OneVsRestClassifier"):
        subject_of(pipeline(KNeighborsClassifier(), labels=INDICATOR), "a test")


@pytest.mark.parametrize("estimator", [LogisticRegression, StandardScaler(), "resnet18", None])
def test_others_are_refused(estimator):
    with pytest.raises(TypeError, match=r"a test takes a fitted classifier: .*; got "):
        subject_of(estimator, "a test")


def test_an_estimator_that_is_not_fitted_is_refused():
    for model in (make_classifier(), make_pipeline(make_extractor(), LogisticRegression())):
        with pytest.raises(NotFittedError):
            subject_of(model, "a test")


def test_a_frozen_extractor_is_found():
    model = make_pipeline(FrozenEstimator(make_extractor().fit(X)), LogisticRegression())
    subject = subject_of(model.fit(X, LABELS), "a test")
    assert subject.backbone is not None
    assert subject.features(X).shape[0] == 12


def test_results_of_cross_validation_are_no_search():
    model = pipeline(RidgeClassifierCV(store_cv_results=True))
    assert subject_of(model, "a test").predict(X).tolist() == model.predict(X).tolist()


def test_sparse_features_become_dense():
    model = pipeline(FunctionTransformer(csr_matrix, accept_sparse=True), LogisticRegression())
    features = subject_of(model, "a test").features(X)
    np.testing.assert_allclose(features, make_extractor().fit_transform(X), rtol=1e-5)


def test_predictions_and_probabilities_of_one_pass():
    for model in (make_classifier().fit(X, LABELS), pipeline(LogisticRegression())):
        labels, probabilities = subject_of(model, "a test").outcome(X)
        assert labels.tolist() == model.predict(X).tolist()
        np.testing.assert_array_equal(probabilities, model.predict_proba(X))

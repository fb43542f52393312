"""The estimators in scikit-learn's meta-estimators, pipelines and searches, on real pictures."""

import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import Bunch

from sktransfer.exceptions import TrainingWarning
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

extractor = partial(make_extractor, backbone=LITE0)

classifier = partial(make_classifier, backbone=LITE0, lr=1e-5)


@pytest.fixture
def data(picture_files):
    paths, y = picture_files
    return np.array(paths), y


def test_pipeline(data):
    X, y = data
    model = Pipeline(
        [("features", extractor()), ("scale", StandardScaler()), ("model", LogisticRegression())]
    )
    assert model.fit(X[:16], y[:16]).score(X[16:], y[16:]) == 1.0
    assert list(model[:-1].get_feature_names_out()[:1]) == ["efficientnet_lite0_0"]


def test_grid_search_in_two_processes(data):
    X, y = data
    grid = {
        "model__unfreeze_depth": [0, 1],
        "model__class_weight": [None, "balanced"],
        "model__backbone": ["efficientnet_lite0"],
    }
    model = Pipeline([("model", classifier(max_epochs=2))])
    search = GridSearchCV(model, grid, cv=2, n_jobs=2, scoring="roc_auc", error_score="raise")
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ == 1.0
    assert set(search.predict(X)) == {"red", "green"}
    alone = GridSearchCV(model, grid, cv=2, scoring="roc_auc").fit(X, y)
    assert_allclose(
        alone.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], rtol=1e-6
    )


def test_grid_search_over_backbones_compares_backbones(data):
    X, y = data
    grid = {"backbone": ["mnasnet0_5", "shufflenet_v2_x0_5"], "weights": [None]}
    search = GridSearchCV(classifier(), grid, cv=2, scoring="neg_log_loss").fit(X, y)
    first, second = search.cv_results_["mean_test_score"]
    assert first != second
    assert search.best_estimator_._model.backbone.reference.name == search.best_params_["backbone"]


def test_cross_val_predict_and_cross_validate(data):
    X, y = data
    folds = StratifiedKFold(3)
    predicted = cross_val_predict(classifier(), X, y, cv=folds, method="predict_proba")
    assert_array_equal(np.array(["green", "red"])[predicted.argmax(1)], y)
    scores = cross_validate(
        classifier(), X, y, cv=folds, scoring=["roc_auc", "f1_macro"], error_score="raise"
    )
    assert scores["test_roc_auc"].mean() == 1.0
    assert scores["test_f1_macro"].mean() == 1.0


def test_a_class_missing_from_a_fold_is_no_error(data):
    X, y = data
    y = y.astype("U8")
    y[:2] = "rare"
    folds = [(np.arange(2, 24), np.arange(2)), (np.arange(20), np.arange(20, 24))]
    weights = {"red": 1.0, "green": 1.0, "rare": 5.0}
    for class_weight in (weights, "balanced"):
        scores = cross_validate(
            classifier(class_weight=class_weight), X, y, cv=folds, error_score="raise"
        )
        assert len(scores["test_score"]) == 2


def test_feature_union_of_two_backbones(data):
    X, y = data
    union = FeatureUnion([("lite0", extractor()), ("mnas", extractor(backbone="mnasnet0_5"))])
    model = make_pipeline(union, StandardScaler(), LogisticRegression()).fit(X, y)
    assert model.score(X, y) == 1.0
    names = union.get_feature_names_out()
    assert len(names) == 2560
    assert names[0] == "lite0__efficientnet_lite0_0"
    assert names[-1] == "mnas__mnasnet0_5_1279"


@pytest.mark.parametrize("column", ["path", ["path"]], ids=["series", "frame"])
def test_column_transformer_joins_pictures_and_a_table(data, column):
    X, y = data
    table = pd.DataFrame({"path": X, "age": np.arange(24.0)}, index=np.arange(100, 124))
    columns = ColumnTransformer(
        [("image", extractor(), column), ("table", StandardScaler(), ["age"])]
    ).set_output(transform="pandas")
    frame = columns.fit_transform(table)
    assert frame.shape == (24, 1281)
    assert list(frame.index) == list(table.index)
    assert_allclose(frame.to_numpy()[:, :1280], extractor().fit_transform(X), rtol=1e-4, atol=1e-5)
    assert make_pipeline(columns, LogisticRegression()).fit(table, y).score(table, y) == 1.0


def test_calibrated_classifier(data):
    X, y = data
    model = CalibratedClassifierCV(classifier(), cv=2).fit(X, y)
    assert model.predict_proba(X).shape == (24, 2)
    assert model.score(X, y) == 1.0


def test_stacking_and_voting(data):
    X, y = data
    members = [
        ("tuned", classifier()),
        ("knn", make_pipeline(extractor(), KNeighborsClassifier(3))),
    ]
    # Without passthrough=True only predictions are stacked, so X may hold paths.
    stack = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, y)
    assert stack.score(X, y) == 1.0
    assert VotingClassifier(members, voting="soft").fit(X, y).score(X, y) == 1.0


def test_self_training(pictures):
    # SelfTrainingClassifier requires a numeric 2-D X: flattened pixels, or features.
    X, y = pictures
    codes = y.copy()
    codes[12:] = -1
    rows = X.reshape(24, -1)
    model = SelfTrainingClassifier(classifier(image_shape=(32, 32, 3))).fit(rows, codes)
    assert_array_equal(model.predict(rows[12:]), y[12:])
    model = make_pipeline(extractor(), SelfTrainingClassifier(LogisticRegression()))
    assert_array_equal(model.fit(X, codes).predict(X[12:]), y[12:])


def test_sample_weight_is_routed_through_a_pipeline(data):
    X, y = data
    weights = np.where(y == "red", 1.0, 1e-3)
    with sklearn.config_context(enable_metadata_routing=True):
        step = classifier(weight_decay=0.1).set_fit_request(sample_weight=True)
        weighted = Pipeline([("model", step)]).fit(X, y, sample_weight=weights)
        step = classifier(weight_decay=0.1).set_fit_request(sample_weight=True)
        plain = Pipeline([("model", step)]).fit(X, y)
    red = list(weighted.classes_).index("red")
    gain = weighted.predict_proba(X)[:, red] - plain.predict_proba(X)[:, red]
    assert gain.min() > 0.01


def test_validation_data_is_routed_through_a_search_over_a_pipeline(data):
    X, y = data
    given = X[::3], y[::3]
    with sklearn.config_context(enable_metadata_routing=True):
        step = classifier(unfreeze_depth=1, max_epochs=2).set_fit_request(validation_data=True)
        model = Pipeline([("model", step)])
        search = GridSearchCV(model, {"model__lr": [1e-6, 1e-5]}, cv=2, error_score="raise")
        search.fit(X, y, validation_data=given)
    fitted = search.best_estimator_[-1]
    assert fitted.history_[-1]["valid_score"] == pytest.approx(fitted.score(*given))


@pytest.mark.parametrize("sampler", ["RandomOverSampler", "RandomUnderSampler"])
def test_imbalanced_learn_samples_paths(data, sampler):
    imblearn = pytest.importorskip("imblearn")
    from imblearn import over_sampling, under_sampling

    assert imblearn.__version__
    X, y = data
    keep = np.r_[np.flatnonzero(y == "red"), np.flatnonzero(y == "green")[:4]]
    X, y = X[keep].reshape(-1, 1), y[keep]
    seen = []

    def count(paths):
        seen.append(len(paths))
        return paths

    module = over_sampling if sampler == "RandomOverSampler" else under_sampling
    from imblearn.pipeline import Pipeline as SamplingPipeline

    model = SamplingPipeline(
        [
            ("sample", getattr(module, sampler)(random_state=0)),
            ("count", FunctionTransformer(count)),
            ("model", classifier()),
        ]
    ).fit(X, y)
    assert seen == [24 if sampler == "RandomOverSampler" else 8]
    assert model.score(X, y) == 1.0


def test_every_container_can_be_sliced(data, pictures):
    X, y = data
    containers = {
        "list": list(X),
        "array": X,
        "objects": X.astype(object),
        "series": pd.Series(X, index=np.arange(24)[::-1]),
        "frame": pd.DataFrame({"path": X}),
        "pixels": pictures[0],
        "arrays": list(pictures[0]),
    }
    results = {
        name: cross_val_predict(classifier(), container, y, cv=2, method="decision_function")
        for name, container in containers.items()
    }
    for name, result in results.items():
        assert_allclose(result, results["list"], rtol=1e-4, err_msg=name)


def test_bunch_from_a_folder(data, tmp_path):
    from sktransfer import load_image_folder

    X, y = data
    for path, label in zip(X, y, strict=True):
        folder = tmp_path / "by_class" / label
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    bunch = load_image_folder(tmp_path / "by_class")
    assert isinstance(bunch, Bunch)
    assert classifier().fit(bunch.data, bunch.target).score(bunch.data, bunch.target) == 1.0


def test_threads_can_share_a_backbone(data):
    from joblib import parallel_config

    X, y = data
    alone = cross_val_predict(
        classifier(dropout=0.3, max_epochs=2), X, y, cv=4, method="predict_proba"
    )
    with parallel_config("threading", n_jobs=2):
        together = cross_val_predict(
            classifier(dropout=0.3, max_epochs=2), X, y, cv=4, method="predict_proba"
        )
    assert_array_equal(alone, together)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1, 1: 2, 2: 5}, {2: 5}], ids=str)
def test_bagging_goes_on_where_a_draw_lacks_a_class(tmp_path, class_weight):
    X, y = make_pictures(24, n_classes=3)
    X, y = X[(y < 2) | (np.arange(24) < 3)], y[(y < 2) | (np.arange(24) < 3)]  # one row of class 2
    model = classifier(class_weight=class_weight, image_shape=(32, 32, 3), cache=tmp_path)
    bagging = BaggingClassifier(model, n_estimators=4, random_state=0)
    with pytest.warns(TrainingWarning, match=r"classes \[2\]"):
        bagging.fit(X.reshape(len(X), -1), y)
    lacking = [2 not in y[drawn] for drawn in bagging.estimators_samples_]
    assert any(lacking)
    assert not all(lacking)
    probabilities = bagging.predict_proba(X.reshape(len(X), -1))
    assert_array_equal(bagging.classes_[probabilities.argmax(axis=1)][y < 2], y[y < 2])

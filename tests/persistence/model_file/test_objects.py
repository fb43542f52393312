"""Pipelines, and other objects of scikit-learn with our estimators in them."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from sktransfer import load, save
from sktransfer.exceptions import ModelFileError, ParameterError
from sktransfer.persistence.model_file.container import write_archive
from sktransfer.persistence.model_file.objects import NotTrustedError, object_bytes, object_of
from tests.conftest import make_pictures, save_pictures
from tests.persistence.model_file.hostile import entries_of
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(24)


def extractor(**parameters):
    return make_extractor(stage="level2", pooling="avg", **parameters)


def reopened(estimator, folder):
    save(estimator, folder / "model.skt")
    return load(folder / "model.skt")


PIPELINES = {
    "regression": lambda: make_pipeline(extractor(), StandardScaler(), LogisticRegression()),
    "kernel": lambda: make_pipeline(extractor(), SVC(random_state=0)),
    "forest": lambda: make_pipeline(extractor(), RandomForestClassifier(5, random_state=0)),
    "boosting": lambda: make_pipeline(extractor(), HistGradientBoostingClassifier(max_iter=2)),
    "neighbors": lambda: make_pipeline(extractor(), KNeighborsClassifier(algorithm="brute")),
    "union": lambda: make_pipeline(
        FeatureUnion([("a", extractor()), ("b", extractor(image_size=64))]), LogisticRegression()
    ),
    "calibrated": lambda: CalibratedClassifierCV(make_classifier(), cv=2),
    "votes": lambda: VotingClassifier([("a", make_classifier()), ("b", make_classifier(lr=0.1))]),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_predictions_are_equal_to_the_last_bit(name, tmp_path):
    pipeline = PIPELINES[name]().fit(X, y)
    opened = reopened(pipeline, tmp_path)
    call = "predict_proba" if hasattr(pipeline, "predict_proba") else "decision_function"
    call = call if name != "votes" else "predict"
    np.testing.assert_array_equal(getattr(opened, call)(X), getattr(pipeline, call)(X))
    assert repr(opened) == repr(pipeline)
    opened.fit(X, y)


def test_a_table_of_paths_and_numbers(tmp_path):
    table = pd.DataFrame(
        {"path": save_pictures(X, tmp_path), "size": y * 2.0, "kind": ["a", "b"] * 12}
    )
    columns = ColumnTransformer(
        [
            ("picture", extractor(), "path"),
            ("number", StandardScaler(), ["size"]),
            ("category", OneHotEncoder(sparse_output=False), ["kind"]),
        ]
    )
    pipeline = make_pipeline(columns.set_output(transform="pandas"), LogisticRegression())
    pipeline.fit(table, y)
    opened = reopened(pipeline, tmp_path)
    np.testing.assert_array_equal(opened.predict_proba(table), pipeline.predict_proba(table))
    pd.testing.assert_frame_equal(opened[0].transform(table), pipeline[0].transform(table))


def test_one_estimator_in_two_places_is_one(tmp_path):
    shared = extractor().fit(X)
    opened = reopened(Pipeline([("a", shared), ("b", LogisticRegression())]), tmp_path)
    assert opened["a"].transform(X).shape == shared.transform(X).shape
    union = reopened(FeatureUnion([("a", shared), ("b", shared)]), tmp_path)
    (_, first), (_, second) = union.transformer_list
    assert first is second


def test_requests_of_metadata_come_back(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        regression = LogisticRegression().set_fit_request(sample_weight=True)
        opened = reopened(make_pipeline(extractor(), regression), tmp_path)
        assert opened[-1].get_metadata_routing().fit.requests["sample_weight"] is True
        assert isinstance(regression.get_metadata_routing().fit.requests, dict)
        opened.fit(X, y, sample_weight=np.ones(24))


def test_nothing_of_the_pipeline_that_was_saved_changes(tmp_path):
    pipeline = make_pipeline(extractor(), LogisticRegression()).fit(X, y)
    before = pipeline.predict_proba(X)
    step = pipeline[0]
    save(pipeline, tmp_path / "model.skt")
    assert pipeline[0] is step
    np.testing.assert_array_equal(pipeline.predict_proba(X), before)


class OfTheUser(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (OfTheUser(), "OfTheUser"),
        (FunctionTransformer(print), "print"),
        (FunctionTransformer(sklearn.datasets.fetch_openml), "fetch_openml"),
        (FunctionTransformer(np.load), "load"),
    ],
    ids=["class", "builtin", "function of scikit-learn", "function of numpy"],
)
def test_types_of_others_are_refused_by_name(step, named, tmp_path):
    with pytest.raises(ParameterError, match=named):
        save(make_pipeline(step, extractor()), tmp_path / "model.skt")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_pipeline_is_not_stored(tmp_path):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(), memory=str(tmp_path / "cache"))
    opened = reopened(make_pipeline(extractor(), pipeline), tmp_path)
    assert opened[-1].memory is None
    assert pipeline.memory is not None
    with pytest.raises(ModelFileError, match="with memory"):
        object_of(hostile_object(pipeline), unused)


def test_objects_that_are_no_estimators(tmp_path):
    path = tmp_path / "model.skt"
    save(make_pipeline(LogisticRegression()), path)
    entries = entries_of(path)
    entries["objects/0.skops"] = hostile_object([1, 2])
    write_archive(path, entries)
    with pytest.raises(ModelFileError, match="no estimator"):
        load(path)


def test_a_search_is_refused_with_a_way_out(tmp_path):
    search = GridSearchCV(LogisticRegression(), {"C": [1]}, scoring="accuracy", cv=2)
    with pytest.raises(ParameterError, match="Save its best_estimator_"):
        save(search.fit(X[:, 0, 0], y), tmp_path / "model.skt")


def test_trees_of_neighbors_are_refused_with_a_way_out(tmp_path):
    model = KNeighborsClassifier(algorithm="kd_tree").fit(X[:, 0, 0], y)
    with pytest.raises(ParameterError, match="algorithm='brute'"):
        save(make_pipeline(model), tmp_path / "model.skt")


def hostile_object(thing):
    """What skops writes of an object, without our checks."""
    import skops.io

    return skops.io.dumps(thing)


def unused(number):
    raise AssertionError(number)


@pytest.mark.parametrize(
    "thing",
    [FunctionTransformer(print), OfTheUser(), [np.load]],
    ids=["builtin", "class", "function of numpy"],
)
def test_types_of_others_are_not_opened(thing):
    with pytest.raises(ModelFileError):
        object_of(hostile_object(thing), unused)


def test_our_estimators_are_not_opened_by_skops():
    with pytest.raises(ModelFileError, match="sktransfer"):
        object_of(hostile_object(make_extractor()), unused)


def test_an_archive_within_that_is_a_bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 10**7)
    with pytest.raises(ModelFileError, match="compressed"):
        object_of(file.getvalue(), unused)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + b"\x00" * 18])
def test_what_is_no_object(content):
    with pytest.raises(ModelFileError):
        object_of(content, unused)


def test_numbers_of_estimators_that_are_not_there(tmp_path):
    path = tmp_path / "model.skt"
    save(make_pipeline(extractor(), LogisticRegression()), path)
    entries = entries_of(path)
    for number in (7, -1, "0", None, [0]):
        placed = {"__sktransfer_estimator__": number}
        pipeline = Pipeline([("a", placed), ("b", LogisticRegression())])
        entries["objects/0.skops"] = hostile_object(pipeline)
        write_archive(path, entries)
        with pytest.raises(ModelFileError):
            load(path)


def test_objects_are_written_without_ours():
    pipeline = make_pipeline(extractor(), LogisticRegression())
    content = object_bytes(pipeline, lambda estimator: 5 if estimator is pipeline[0] else unused(0))
    found = object_of(content, {5: "ours"}.get)
    assert found.steps[0][1] == "ours"
    with pytest.raises(NotTrustedError):
        object_bytes([print], unused)

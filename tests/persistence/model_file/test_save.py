"""What comes back from a model file, and goes on, as if it had never been away."""

import functools
import json
import pickle
import zipfile
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import StratifiedKFold

from sktransfer import PretrainedImageClassifier, adapt_batch_norm, load, save
from sktransfer._common.process_memory import free_memory
from sktransfer.exceptions import ModelFileError, ParameterError
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

pytestmark = [
    pytest.mark.filterwarnings("ignore:L-BFGS did not converge"),
    pytest.mark.filterwarnings("ignore:Fine-tuning"),
]

X, y = make_pictures(24)
names = np.array(["red", "green"])[y]
several = np.stack([y, 1 - y, y], axis=1)


def adapted(estimator):
    return adapt_batch_norm(estimator, X[::-1] // 2, n_source=0)


FITTED = {
    "frozen": lambda: make_classifier().fit(X, names),
    "trained": lambda: make_classifier(unfreeze_depth=1, max_epochs=1).fit(X, y),
    "all": lambda: make_classifier(unfreeze_depth="all", max_epochs=1).fit(X, y),
    "layers": lambda: make_classifier(hidden_layer_sizes=(4,), dropout=0.5, max_epochs=1).fit(X, y),
    "dropout": lambda: make_classifier(dropout=0.5, mc_dropout=3, max_epochs=1).fit(X, y),
    "views": lambda: make_classifier(augment="light", n_views=2, max_epochs=2, tta=2).fit(X, y),
    "one against the rest": lambda: make_classifier(loss="binary_cross_entropy").fit(X, y),
    "several labels": lambda: make_classifier(loss="focal", max_epochs=1).fit(X, several),
    "a class of torch": lambda: make_classifier(
        loss=torch.nn.CrossEntropyLoss, optimizer=torch.optim.SGD, max_epochs=1
    ).fit(X, y),
    "shorter": lambda: make_classifier(precision="bfloat16", engine="torch").fit(X, y),
    "evidence": lambda: make_classifier(
        resize="auto", calibrate="temperature", validation_fraction=0.5
    ).fit(X, names),
    "in pieces": lambda: make_classifier(optimizer="adamw").partial_fit(X, y),
    "five bands": lambda: make_classifier(in_channels=5).fit(np.repeat(X, 2, axis=3)[..., :5], y),
    "rows": lambda: make_classifier(image_shape=(32, 32, 3)).fit(X.reshape(24, -1), y),
    "adapted": lambda: adapted(make_classifier(backbone=LITE0).fit(X, y)),
    "adapted stages": lambda: adapted(make_classifier(unfreeze_depth=1, max_epochs=1).fit(X, y)),
    "extractor": lambda: make_extractor(stage=["level2", "level3"], pooling="avg").fit(X),
    "adapted extractor": lambda: adapted(make_extractor().fit(X)),
}


@functools.cache
def fitted(name):
    return FITTED[name]()


def pictures_for(name):
    of = {"five bands": np.repeat(X, 2, axis=3)[..., :5], "rows": X.reshape(24, -1)}
    return of.get(name, X)


def outputs(estimator, name):
    call = getattr(estimator, "predict_proba", getattr(estimator, "transform", None))
    return call(pictures_for(name))


def saved(estimator, folder, **options):
    save(estimator, folder / "model.skt", **options)
    return folder / "model.skt"


WHOLE = ("frozen", "all", "five bands", "adapted", "extractor", "adapted extractor")


@pytest.mark.parametrize(
    ("name", "whole"), [*((name, False) for name in FITTED), *((name, True) for name in WHOLE)]
)
def test_outputs_are_equal_to_the_last_bit(name, whole, tmp_path):
    estimator = fitted(name)
    expected = outputs(estimator, name)
    path = saved(estimator, tmp_path, include_backbone=whole)
    free_memory()
    opened = load(path)
    np.testing.assert_array_equal(outputs(opened, name), expected)
    np.testing.assert_array_equal(outputs(pickle.loads(pickle.dumps(opened)), name), expected)
    assert opened.get_params() == estimator.get_params()
    # Saved again, it is the same file but for the time.
    again = load(saved(opened, tmp_path, include_backbone=whole))
    np.testing.assert_array_equal(outputs(again, name), expected)


@pytest.mark.parametrize("name", [name for name in FITTED if "extractor" not in name])
def test_attributes_of_a_fit_come_back(name, tmp_path):
    estimator = fitted(name)
    opened = load(saved(estimator, tmp_path))
    for attribute in ("history_", "n_iter_", "unfreeze_depth_", "unfreeze_depth_scores_"):
        assert getattr(opened, attribute) == getattr(estimator, attribute)
    for attribute in ("resize_", "resize_scores_", "temperature_", "device_"):
        assert getattr(opened, attribute) == getattr(estimator, attribute)
    assert opened.classes_.dtype == estimator.classes_.dtype
    np.testing.assert_array_equal(opened.classes_, estimator.classes_)
    assert repr(opened) == repr(estimator)
    assert getattr(opened, "n_features_in_", None) == getattr(estimator, "n_features_in_", None)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["rot", "grün"]),
        np.array([10, 99], dtype=np.int16),
        np.array([False, True]),
        np.array([-1.0, 1.0]),
        np.array(["a", "b"], dtype=object),
    ],
    ids=["str", "int16", "bool", "float", "object"],
)
def test_labels_of_any_kind(labels, tmp_path):
    classifier = make_classifier().fit(X, labels[y])
    opened = load(saved(classifier, tmp_path))
    assert opened.classes_.dtype == classifier.classes_.dtype
    assert opened.predict(X).tolist() == classifier.predict(X).tolist()


def test_a_table_of_pixels_has_its_columns(tmp_path):
    table = pd.DataFrame(X[:, :4, :4].reshape(24, -1)).add_prefix("pixel_")
    extractor = make_extractor(image_shape=(4, 4, 3)).set_output(transform="pandas").fit(table)
    opened = load(saved(extractor, tmp_path))
    pd.testing.assert_frame_equal(opened.transform(table), extractor.transform(table))
    assert opened.feature_names_in_.tolist() == table.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        opened.transform(table.rename(columns={"pixel_0": "other"}))


PARAMETERS = {
    "class_weight": {"red": 2.0, "green": 1},
    "random_state": np.random.RandomState(3),
    "lr": np.float64(0.01),
    "gradual_unfreezing": [1, 2],
    "validation_fraction": StratifiedKFold(3, shuffle=True, random_state=1),
    "schedule": torch.optim.lr_scheduler.ExponentialLR,
    "optimizer": torch.optim.AdamW,
    "hidden_layer_sizes": (8, 4),
    "callbacks": [],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_that_are_no_numbers(name, tmp_path):
    opened = load(saved(make_classifier(**{name: PARAMETERS[name]}), tmp_path))
    found = getattr(opened, name)
    assert type(found) is type(PARAMETERS[name])
    if name == "random_state":
        state = np.random.RandomState(3)
        assert found.randint(1000, size=5).tolist() == state.randint(1000, size=5).tolist()
    else:
        assert repr(found) == repr(PARAMETERS[name])
    with pytest.raises(NotFittedError):
        opened.predict(X)


NUMBERS = {
    "dropout": (np.float64(0.2), {"max_epochs": 1}),
    "unfreeze_depth": (np.int64(1), {"max_epochs": np.int64(1)}),
    "image_size": (np.int64(32), {"batch_size": np.int64(8)}),
    "in_channels": (np.int64(3), {"lr": np.float32(0.01)}),
    "image_shape": ((np.int64(32), np.int64(32), 3), {}),
    "pooling": (np.str_("max"), {"hidden_layer_sizes": (np.int64(4),), "max_epochs": 1}),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_as_searches_hand_them_over(name, tmp_path):
    value, others = NUMBERS[name]
    classifier = make_classifier(**{name: value}, **others).fit(X, y)
    opened = load(saved(classifier, tmp_path))
    np.testing.assert_array_equal(opened.predict_proba(X), classifier.predict_proba(X))
    assert type(getattr(opened, name)) is type(value)
    opened.set_params(warm_start=True).fit(X, y)


def test_a_file_that_could_not_be_opened_is_not_written(tmp_path, monkeypatch):
    path = saved(make_classifier(), tmp_path)
    before = path.read_bytes()

    def broken(*_):
        raise ModelFileError("It is broken.")

    monkeypatch.setattr("sktransfer.persistence.model_file.save.opened", broken)
    with pytest.raises(ParameterError, match=r"none was written\. It is broken\. Use joblib"):
        saved(make_classifier(lr=0.1), tmp_path)
    assert path.read_bytes() == before


def test_a_teacher_goes_along(tmp_path):
    teacher = fitted("frozen")
    student = make_classifier(distill_from=teacher).fit(X, names)
    opened = load(saved(student, tmp_path))
    np.testing.assert_array_equal(opened.distill_from.predict_proba(X), teacher.predict_proba(X))
    np.testing.assert_array_equal(opened.predict_proba(X), student.predict_proba(X))


def test_requests_of_metadata(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = make_classifier().set_fit_request(sample_weight="w", groups=True)
        opened = load(saved(classifier, tmp_path))
        fit = opened.get_metadata_routing().fit.requests
        assert fit == classifier.get_metadata_routing().fit.requests
        assert fit["sample_weight"] == "w"


FOLDERS = {"cache": "activations", "checkpoint_dir": "checkpoints"}


def test_folders_of_this_machine_are_not_stored(tmp_path):
    folders = {name: tmp_path / folder for name, folder in FOLDERS.items()}
    classifier = make_classifier(**folders).fit(X, y)
    path = saved(classifier, tmp_path)
    opened = load(path)
    assert (opened.cache, opened.checkpoint_dir) == (None, None)
    np.testing.assert_array_equal(opened.predict_proba(X), classifier.predict_proba(X))
    with zipfile.ZipFile(path) as archive:
        assert str(tmp_path).encode() not in archive.read("manifest.json")


GO_ON = {
    "a clone": lambda c: clone(c).fit(X, names),
    "warm start": lambda c: c.set_params(warm_start=True).fit(X, names),
    "a deeper warm start": lambda c: c.set_params(
        warm_start=True, unfreeze_depth=1, max_epochs=1
    ).fit(X, names),
    "pieces": lambda c: c.partial_fit(X[:10], names[:10]),
}


@pytest.mark.parametrize("whole", [False, True], ids=["head", "whole"])
@pytest.mark.parametrize("how", GO_ON)
def test_fits_go_on(how, whole, tmp_path):
    classifier = make_classifier().fit(X, names)
    path = saved(classifier, tmp_path, include_backbone=whole)
    after, expected = GO_ON[how](load(path)), GO_ON[how](classifier)
    np.testing.assert_array_equal(after.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize("depth", [0, 1])
def test_pieces_go_on_with_the_state_of_the_optimizer(depth, tmp_path):
    classifier = make_classifier(optimizer="adamw", unfreeze_depth=depth).partial_fit(X, names)
    opened = load(saved(classifier, tmp_path))
    for each in (opened, classifier):
        each.partial_fit(X[::2], names[::2])
    np.testing.assert_array_equal(opened.predict_proba(X), classifier.predict_proba(X))


def manifest_of(path):
    with zipfile.ZipFile(path) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        return json.loads(archive.read("manifest.json"))


def test_the_manifest_tells_what_the_model_is_and_was_fitted_on(tmp_path):
    classifier = PretrainedImageClassifier(LITE0, image_size=32, device="cpu", random_state=0)
    weights = np.ones(24)
    weights[:3] = 0  # two of "red", one of "green"
    manifest = manifest_of(saved(classifier.fit(X, names, weights), tmp_path))
    model = manifest["estimators"][0]["fitted"]
    assert manifest["format"] == 1
    assert manifest["libraries"]["torch"] == version("torch")
    assert model["classes"]["values"] == ["green", "red"]
    assert model["rows_of_classes"] == [11, 10]
    assert model["backbone"]["license"] == "Apache-2.0"
    assert "lite0" in model["backbone"]["origin"]
    assert all(len(tensor["sha256"]) == 64 for tensor in manifest["tensors"].values())


def test_rows_of_all_pieces_are_counted(tmp_path):
    classifier = make_classifier().partial_fit(X, names).partial_fit(X[:6], names[:6])
    model = manifest_of(saved(classifier, tmp_path))["estimators"][0]["fitted"]
    assert model["rows_of_classes"] == [15, 15]
    labels = manifest_of(saved(fitted("several labels"), tmp_path))["estimators"][0]["fitted"]
    assert labels["rows_of_classes"] == several.sum(axis=0).tolist()


def test_a_head_alone_is_small_and_a_depth_holds_what_trained(tmp_path):
    head = saved(fitted("frozen"), tmp_path).stat().st_size
    depth = saved(fitted("trained"), tmp_path).stat().st_size
    whole = saved(fitted("frozen"), tmp_path, include_backbone=True).stat().st_size
    assert head < 40_000
    assert head < depth < whole

import json
from dataclasses import replace

import numpy as np
import pytest

from sktransfer import load, save
from sktransfer.persistence.graphs.metadata import metadata_of
from sktransfer.persistence.graphs.network import network_of
from tests.conftest import make_pictures
from tests.persistence.graphs.conftest import TINY, fitted_classifier
from tests.small_estimators import LITE0, make_extractor


def told_of(fitted):
    told = metadata_of(fitted, network_of(fitted, "pictures"))
    return {name: json.loads(value) for name, value in told.items()}


def test_a_classifier(classifier):
    told = told_of(classifier._model)
    assert told["task"] == "one label"
    assert (told["classes"], told["classes_dtype"]) == (["ant", "bee"], "<U3")
    assert (told["input"], told["side"], told["resize_size"]) == ("pictures", 16, 18)
    assert (told["resize"], told["interpolation"], told["channels"]) == ("crop", "bicubic", 3)
    assert (told["backbone"], told["weights"]) == (TINY, "DEFAULT")
    assert told["temperature"] == 1.0


def test_an_extractor_with_published_weights():
    extractor = make_extractor(backbone=LITE0).fit(make_pictures(2)[0])
    told = told_of(extractor._fitted)
    assert (told["task"], told["n_features"]) == ("features", 1280)
    assert told["license"] == "Apache-2.0"


def test_weights_that_came_in_a_model_file_keep_their_licence(tmp_path):
    extractor = make_extractor(backbone=LITE0).fit(make_pictures(2)[0])
    save(extractor, tmp_path / "model.skt", include_backbone=True)
    loaded = load(tmp_path / "model.skt")
    assert told_of(loaded._fitted)["license"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([3, 7], [3, 7]), ([False, True], [False, True]), (["a", "ö"], ["a", "ö"])],
)
def test_labels_of_any_type(labels, classes):
    X, y = make_pictures(8)
    fitted = fitted_classifier().fit(X, np.array(labels)[y])._model
    assert told_of(fitted)["classes"] == classes


def test_labels_that_are_dates(classifier):
    dates = np.array(["2020-01-01", "2020-01-02"], dtype="M8[ns]")
    told = told_of(replace(classifier._model, classes=dates))
    assert [date[:10] for date in told["classes"]] == ["2020-01-01", "2020-01-02"]

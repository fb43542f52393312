import functools

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sktransfer import PretrainedImageClassifier, load, save
from sktransfer.exceptions import ModelFileError, ParameterError
from tests.conftest import make_pictures
from tests.persistence.model_file.hostile import put, rewritten
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(8)


def own_loss(reduction):
    return torch.nn.CrossEntropyLoss(reduction=reduction)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("augment", lambda image: image),
        ("loss", own_loss),
        ("optimizer", functools.partial(torch.optim.SGD, momentum=0.9)),
        ("callbacks", [print]),
    ],
)
def test_code_is_refused_by_the_name_of_its_parameter(name, value, tmp_path):
    classifier = make_classifier(**{name: value})
    with pytest.raises(ParameterError, match=rf"{name}=.*Use set_params\({name}="):
        save(classifier, tmp_path / "model.skt")
    assert list(tmp_path.iterdir()) == []


def test_a_fit_with_code_can_be_saved_without_it(tmp_path):
    classifier = make_classifier(augment=lambda image: image, n_views=1, optimizer="adamw").fit(
        X, y
    )
    save(classifier.set_params(augment=None), tmp_path / "model.skt")
    opened = load(tmp_path / "model.skt")
    assert opened.predict_proba(X).tolist() == classifier.predict_proba(X).tolist()


def test_a_fit_by_code_goes_on_by_another_optimizer(tmp_path):
    own = functools.partial(torch.optim.SGD, momentum=0.9)
    classifier = make_classifier(optimizer=own, loss=own_loss, lr=0.01).partial_fit(X, y)
    classifier.set_params(optimizer="adamw", loss="cross_entropy")
    save(classifier, tmp_path / "model.skt")
    opened = load(tmp_path / "model.skt")
    assert opened.predict_proba(X).tolist() == classifier.predict_proba(X).tolist()
    for each in (opened, classifier):
        each.partial_fit(X, y)
    assert opened.predict_proba(X).tolist() == classifier.predict_proba(X).tolist()


class Derived(PretrainedImageClassifier):
    pass


def test_derived_classes_and_other_attributes(tmp_path):
    with pytest.raises(ParameterError, match="no class derived from them"):
        save(Derived(), tmp_path / "model.skt")
    extractor = make_extractor()
    extractor.note = "mine"
    with pytest.raises(ParameterError, match=r"attributes that sktransfer did not set, \['note'\]"):
        save(extractor, tmp_path / "model.skt")


def test_parameters_without_a_meaning_are_refused_as_in_fit(tmp_path):
    with pytest.raises(ValueError, match="batch_size"):
        save(make_extractor(batch_size=0), tmp_path / "model.skt")


@pytest.mark.parametrize(
    "thing", [3, "x", None, make_classifier, {"a": LogisticRegression()}, print]
)
def test_what_is_no_estimator(thing, tmp_path):
    with pytest.raises(ParameterError, match="can hold sktransfer's estimators"):
        save(thing, tmp_path / "model.skt")


ESTIMATOR = ("estimators", 0)
CHANGES = [
    (("class",), "BackboneEstimator"),
    (("class",), "os.system"),
    (("parameters", "batch_size"), 0),
    (("parameters", "batch_size"), "1"),
    (("parameters", "device"), 3),
    (("parameters", "cache"), "/tmp/of a stranger"),
    (("parameters", "checkpoint_dir"), "/tmp/of a stranger"),
    (("parameters", "other"), 1),
    (("parameters", "__class__"), 1),
    (("parameters", "augment"), {"kind": "code"}),
    (("parameters", "distill_from"), {"kind": "estimator", "number": 0}),
    (("parameters", "distill_from"), {"kind": "estimator", "number": 7}),
    (("parameters", "distill_from"), {"kind": "object", "number": 0}),
    (("parameters",), []),
    (("output",), "pandas"),
    (("output",), "other"),
    (("requests",), {"fit": {"X": True}}),
    (("requests",), None),
    (("n_features_in",), 0),
    (("feature_names_in",), {"dtype": "|O", "shape": [1], "values": ["a"]}),
    (("more",), 1),
]


@pytest.mark.parametrize(("place", "value"), CHANGES, ids=str)
def test_records_that_nobody_writes(place, value, tmp_path):
    path = tmp_path / "model.skt"
    save(make_classifier(), path)
    rewritten(path, lambda manifest, _: put(manifest, (*ESTIMATOR, *place), value))
    with pytest.raises(ModelFileError):
        load(path)


def test_a_file_without_a_later_parameter_has_its_default(tmp_path):
    path = tmp_path / "model.skt"
    save(make_classifier(tta=3), path)
    rewritten(path, lambda manifest, _: manifest["estimators"][0]["parameters"].pop("tta"))
    assert load(path).tta is None

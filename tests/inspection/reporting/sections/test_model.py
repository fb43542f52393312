import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.inspection.reporting.sections.model import license_of, section
from sktransfer.inspection.subject import subject_of
from tests.conftest import make_pictures
from tests.inspection.reporting.materials import SURE, material_of, pictures_of, usual
from tests.small_estimators import LITE0, make_classifier, make_extractor

X, y = make_pictures(12)


def tables(model, **train):
    found = material_of(model, X, y, **{"X_train": None, "y_train": None, **train})
    return section(found).blocks


def test_parameters_that_differ_from_their_defaults():
    model = make_pipeline(make_extractor(), LogisticRegression(C=2)).fit(X, y)
    rows = tables(model)[0].rows
    assert ["LogisticRegression", "C", "2"] in rows
    assert ["PretrainedFeatureExtractor", "backbone", "'mnasnet0_5'"] in rows
    assert not [row for row in rows if row[1] in ("tol", "resize")]


def test_the_backbone():
    model = make_classifier(unfreeze_depth=1, max_epochs=2).fit(X, y)
    facts = dict(tables(model)[1].rows)
    assert facts["name"] == "mnasnet0_5"
    assert facts["digest of the weights (SHA-256)"] == model._model.backbone.reference.digest
    assert facts["licence of the weights"] == "none: the weights are random"
    assert facts["stages that were trained"] == "1"
    assert facts["epochs"] == str(model.n_iter_)
    trained = sum(p.numel() for p in model.net_.module_.parameters() if p.requires_grad)
    assert facts["parameters that were trained"] == f"{trained:,}"


def test_licences():
    lite = make_classifier(backbone=LITE0).fit(X, y)
    assert license_of(subject_of(lite, "a test")) == "Apache-2.0"
    assert license_of(usual().subject) == ""


def test_training_labels_are_counted():
    counts = tables(make_classifier().fit(X, y), X_train=X, y_train=y)[-1]
    assert counts.rows == [["0", 6], ["1", 6]]
    assert "12 training pictures of 2 classes." in counts.caption
    assert "Give X_train" in tables(make_classifier().fit(X, y))[-1].text


def test_classifiers_without_a_backbone():
    found = section(usual(X_train=pictures_of(SURE[:2]), y_train=["ant", "bee"])).blocks
    assert [len(block.rows) for block in found[-1:]] == [2]
    assert not np.any([block.columns[0] == "backbone" for block in found])

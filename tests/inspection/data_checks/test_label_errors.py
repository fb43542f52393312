import importlib.util
import sys

import numpy as np
import pytest

from sktransfer.inspection.data_checks import label_errors
from sktransfer.inspection.data_checks.findings import NotMade
from sktransfer.inspection.data_checks.label_errors import find_label_errors
from sktransfer.inspection.data_checks.material import Material
from tests.inspection.data_checks.helpers import make_facts, make_material, separable

CODES = np.arange(90) % 3
WRONG = [4, 30, 57, 80]


@pytest.fixture
def flipped():
    """Material of which four labels are wrong."""
    y = CODES.copy()
    y[WRONG] = (y[WRONG] + 1) % 3
    return make_material(90, np.array(["ant", "bee", "cat"])[y], features=separable(CODES))


@pytest.fixture
def without_cleanlab(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cleanlab" else find_spec(name)
    )
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)


def test_wrong_labels_are_found(flipped):
    pytest.importorskip("cleanlab")
    found = find_label_errors(flipped)
    assert {each.rows[0] for each in found} <= set(WRONG)
    assert len(found) >= 3  # how many there are is an estimate
    assert [each.score for each in found] == sorted(each.score for each in found)
    by_row = {each.rows[0]: each for each in found}
    assert by_row[4].suggestion == "bee"
    assert by_row[4].severity == "warning"
    assert "is labelled 'cat'" in by_row[4].message
    assert "and 'bee'" in by_row[4].message


@pytest.mark.usefixtures("without_cleanlab")
def test_without_cleanlab_they_lead_a_ranking(flipped):
    found = find_label_errors(flipped)
    assert {each.rows[0] for each in found} <= set(WRONG)
    assert {each.severity for each in found} == {"note"}
    assert "install cleanlab" in found[0].advice


def test_copies_with_the_same_wrong_label_do_not_vouch_for_each_other():
    """In another fold, a copy would teach a head the wrong label."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    features = 2 * np.eye(200)[y] + rng.normal(0, 1, (80, 200))  # wide: heads know rows by heart
    y[:2], features[0] = 1 - y[2], features[2]
    features[1] = features[0]
    digests = [bytes([max(i, 1)]) for i in range(80)]
    apart = make_material(80, y, features=features)
    together = make_material(80, y, features=features, digest=digests)

    def confidence(material):
        return {each.rows[0]: each.score for each in find_label_errors(material)}.get(1, 1.0)

    assert confidence(together) < confidence(apart)


def test_a_class_of_one_picture_is_no_error():
    features = separable(np.append(CODES, 3))
    y = np.append(CODES, 3)
    found = find_label_errors(make_material(91, y, features=features))
    assert (90,) not in [each.rows for each in found]


def test_only_rows_of_X_are_judged(flipped):
    test = make_material(
        90,
        flipped.labels.classes[flipped.labels.y],
        n_test=5,
        features=np.concatenate([flipped.features, np.zeros((5, 8))]),
    )
    assert [each.rows for each in find_label_errors(test)] == [
        each.rows for each in find_label_errors(flipped)
    ]


def test_rows_without_features_are_left_out(flipped):
    flipped.features[WRONG[0]] = np.nan
    assert (WRONG[0],) not in [each.rows for each in find_label_errors(flipped)]


def test_features_that_saw_labels_are_refused(flipped):
    told = Material(make_facts(90), 90, flipped.labels, flipped.features, features_saw_labels=True)
    with pytest.raises(NotMade, match="was trained on labels"):
        find_label_errors(told)


@pytest.mark.parametrize(
    ("material", "reason"),
    [
        (make_material(3), "y was not given"),
        (make_material(3, ["a", "b", "b"]), "no network"),
        (make_material(2, ["a", "b"], features=np.eye(2)), "too few different pictures"),
        (make_material(4, list("abab"), features=np.ones((4, 2))), "the same features"),
        (
            make_material(3, ["a", "b", "b"], features=np.eye(3), error=["damaged", None, None]),
            "of one class only",
        ),
    ],
)
def test_why_it_is_not_made(material, reason):
    with pytest.raises(NotMade, match=reason):
        find_label_errors(material)


def test_too_many_classes_are_refused(monkeypatch, flipped):
    monkeypatch.setattr(label_errors, "_MOST_CLASSES", 2)
    with pytest.raises(NotMade, match="there are 3 classes"):
        find_label_errors(flipped)

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from sktransfer.inspection.reporting.sections import classes
from sktransfer.inspection.reporting.sections.classes import section
from tests.inspection.reporting.materials import (
    EXPECTED,
    SURE,
    TRUE,
    pictures_of,
    told,
    usual,
)


def rows(material):
    return {row[0]: row[1:] for row in section(material).blocks[0].rows}


def test_each_class_has_its_figures():
    found = rows(usual())
    names = ["ant", "bee", "cat"]
    recall = recall_score(TRUE, EXPECTED, average=None)
    precision = precision_score(TRUE, EXPECTED, average=None)
    for i, name in enumerate(names):
        assert found[name][0] == np.sum(name == TRUE)
        assert found[name][1:3] == pytest.approx([recall[i], precision[i]])
    assert [found[name][1] for name in found] == sorted(recall)


def test_what_does_not_occur_has_no_figure():
    found = rows(told([[0.8, 0.2, 0.0]] * 3, ["ant", "ant", "dog"]))
    assert found["bee"] == [0, None, None, None]
    assert found["dog"] == [1, 0.0, None, 0.0]


def test_training_pictures_are_counted():
    trained = usual(X_train=pictures_of(SURE[:3]), y_train=["cat", "cat", "ant"])
    assert {name: row[-1] for name, row in rows(trained).items()} == {"ant": 1, "bee": 0, "cat": 2}


def test_many_classes_are_cut_off(monkeypatch):
    monkeypatch.setattr(classes, "MOST_ROWS", 2)
    table, note = section(usual()).blocks
    assert len(table.rows) == 2
    assert note.text.startswith("1 other classes")

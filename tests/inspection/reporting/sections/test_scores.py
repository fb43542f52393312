import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

from sktransfer.inspection.reporting.blocks import Text
from sktransfer.inspection.reporting.sections import scores as module
from sktransfer.inspection.reporting.sections.scores import accuracy, scores, section
from tests.inspection.reporting.materials import (
    EXPECTED,
    SURE,
    TRUE,
    pictures_of,
    told,
    usual,
)

ONE_HOT = (TRUE[:, None] == np.array(["ant", "bee", "cat"])).astype(float)


def by_name(material):
    return {score.name: score for score in scores(material)}


def warnings(material):
    return " ".join(block.text for block in section(material).blocks if isinstance(block, Text))


def test_values_are_those_of_scikit_learn():
    found = by_name(usual())
    assert found["accuracy"].value == pytest.approx(accuracy_score(TRUE, EXPECTED))
    assert found["balanced accuracy"].value == pytest.approx(
        balanced_accuracy_score(TRUE, EXPECTED)
    )
    assert found["F1"].value == pytest.approx(f1_score(TRUE, EXPECTED, average="macro"))
    assert found["log loss"].value == pytest.approx(log_loss(TRUE, SURE))
    expected = ((SURE - ONE_HOT) ** 2).sum(axis=1).mean()
    assert found["Brier score"].value == pytest.approx(expected)
    assert "area under ROC" not in found


def test_two_classes_have_an_area_under_roc():
    true = np.array(["ant", "bee"] * 6)
    of_bee = np.linspace(0.2, 0.9, 12)
    found = by_name(told(np.stack([1 - of_bee, of_bee], axis=1), true, classes=("ant", "bee")))
    written = np.round(100 * of_bee)
    assert found["area under ROC"].value == pytest.approx(roc_auc_score(true == "bee", written))


def test_intervals_cover_the_truth_as_often_as_they_say(monkeypatch):
    """The balanced accuracy is 0.7: of 100 intervals, about 95 hold it."""
    monkeypatch.setattr(module, "N_RESAMPLES", 200)
    rng, inside = np.random.default_rng(0), 0
    for seed in range(100):
        true = np.array(["ant", "bee"] * 40)
        right = rng.random(80) < 0.7
        of_ant = np.where((true == "ant") == right, 0.9, 0.1)
        material = told(np.stack([of_ant, 1 - of_ant], 1), true, classes=("ant", "bee"), seed=seed)
        score = by_name(material)["balanced accuracy"]
        inside += score.low <= 0.7 <= score.high
    assert 88 <= inside <= 100


def test_the_accuracy_has_an_interval_where_all_predictions_are_right():
    found = accuracy(told(SURE, EXPECTED))
    assert found.value == found.high == 1
    assert found.low < 0.8


def test_the_baseline_predicts_the_most_frequent_training_label():
    assert by_name(usual())["accuracy"].baseline == pytest.approx(np.mean(TRUE == "bee"))
    trained = usual(X_train=pictures_of(SURE[:3]), y_train=["cat", "cat", "ant"])
    assert by_name(trained)["accuracy"].baseline == pytest.approx(np.mean(TRUE == "cat"))
    assert by_name(trained)["balanced accuracy"].baseline == pytest.approx(1 / 3)


def test_what_is_missing_is_said():
    assert warnings(usual()).startswith("There are only 12 test pictures.")
    assert warnings(told(np.tile(SURE, (3, 1)), np.tile(TRUE, 3))) == ""
    without = usual(has_probabilities=False)
    assert "no probabilities" in warnings(without)
    assert list(by_name(without)) == ["accuracy", "balanced accuracy", "F1"]
    assert "'dog'" not in warnings(usual())
    strange = told(SURE, [*TRUE[:-2], "dog", "dog"])
    assert "2 test pictures have labels that the classifier does not know" in warnings(strange)
    assert np.isfinite(by_name(strange)["log loss"].value)
    assert "All test pictures are of one class, bee" in warnings(told(SURE, ["bee"] * 12))


def test_one_picture_is_enough():
    found = by_name(told(SURE[:1], TRUE[:1]))
    assert found["accuracy"].value == found["accuracy"].high == 1

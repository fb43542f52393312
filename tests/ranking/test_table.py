import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from sktransfer.ranking.folds import corrected_error
from sktransfer.ranking.table import as_table

FOLDS = [(np.arange(8), np.arange(8, 10))] * 4
BEST = np.array([0.9, 0.8, 0.9, 0.8])


def measured(label, accuracies, **figures):
    usual = {
        "imagenet_accuracy": 0.7,
        "seconds_per_1000": 12.0,
        "parameters": 3_400_000,
        "features": 1280,
        "logme": 0.5,
        "license": "Apache-2.0",
    }
    candidate = SimpleNamespace(label=label, extractor=None)
    return SimpleNamespace(
        candidate=candidate, fold_accuracies=np.asarray(accuracies), **{**usual, **figures}
    )


def table(*entries, fine_tuned=None, skipped=(), not_reached=()):
    return as_table(
        *(entries, FOLDS),
        n_pictures=10,
        fine_tuned=fine_tuned,
        skipped=dict(skipped),
        not_reached=not_reached,
    )


@pytest.fixture
def ranking():
    return table(
        measured("worse", BEST - 0.1, seconds_per_1000=np.nan),
        measured("best", BEST, license="unknown"),
        measured("like it", BEST - [0.1, 0, 0, 0], imagenet_accuracy=np.nan),
    )


def test_the_most_accurate_is_first_and_columns_stay_together(ranking):
    assert ranking.backbone.tolist() == ["best", "like it", "worse"]
    np.testing.assert_allclose(ranking.accuracy, [0.85, 0.825, 0.75])
    np.testing.assert_array_equal(ranking.license, ["unknown", "Apache-2.0", "Apache-2.0"])
    np.testing.assert_array_equal(np.isnan(ranking.seconds_per_1000), [False, False, True])
    np.testing.assert_allclose(ranking.fold_accuracies[0], BEST)
    assert ranking.accuracy_error[0] == pytest.approx(corrected_error(BEST, FOLDS))


def test_ties_are_judged_by_paired_folds(ranking):
    # "worse" is behind by the same in each fold: that is sure, though its error is large.
    assert ranking.tied_with_best.tolist() == [True, True, False]
    assert ranking.accuracy_error[2] > 0.02


def test_the_print_says_what_it_is(ranking):
    text = str(ranking)
    lines = text.splitlines()
    assert lines[0].startswith("Accuracy of a frozen head: the mean of 4 folds of 10 pictures")
    assert lines[2].split() == [
        *("backbone", "accuracy", "tied", "ImageNet", "s/1000", "parameters", "features"),
        *("LogME", "licence"),
    ]
    assert lines[3].split() == [
        *("best", "0.850", "+/-", "0.041", "best", "0.700", "12", "3.4M", "1280", "0.500"),
        "unknown",
    ]
    assert lines[4].split()[:6] == ["like", "it", "0.825", "+/-", "0.035", "yes"]
    assert "The best of 3 was chosen by the folds that judge it, which flatters it" in text
    assert "s/1000 is measured only where" in text
    assert text.isascii()
    assert repr(ranking) == text


def test_the_print_says_what_is_missing():
    text = str(table(measured("one", BEST), skipped={"other": "OSError: gone"}, not_reached=["x"]))
    assert "Skipped other: OSError: gone" in text
    assert "Interrupted before x." in text
    assert "flatters" not in text  # there was nothing to choose from


def test_fine_tuned_accuracies_have_a_column():
    gains = np.array([0.1, 0.15, 0.2])
    ranking = table(
        *(measured("one", BEST), measured("two", BEST - 0.1)),
        fine_tuned={"two": BEST[:3] - 0.1 + gains},
    )
    np.testing.assert_allclose(ranking.fine_tuned_accuracy, [np.nan, np.mean(BEST[:3]) + 0.05])
    np.testing.assert_allclose(ranking.fine_tuned_gain, [np.nan, 0.15])  # on the same folds
    assert ranking.fine_tuned_gain_error[1] == pytest.approx(corrected_error(gains, FOLDS[:3]))
    assert f"0.917 (+0.150 +/- {ranking.fine_tuned_gain_error[1]:.3f})" in str(ranking)
    assert "fine-tuned: on the first folds only" in str(ranking)
    assert "fine_tuned_accuracy" not in table(measured("one", BEST))


def test_it_becomes_a_data_frame(ranking):
    pytest.importorskip("pandas")
    frame = ranking.to_frame()
    assert frame.columns.tolist() == [
        *("backbone", "accuracy", "accuracy_error", "tied_with_best", "imagenet_accuracy"),
        *("seconds_per_1000", "parameters", "features", "logme", "license"),
    ]
    assert frame["backbone"].tolist() == ["best", "like it", "worse"]
    assert frame["tied_with_best"].dtype == bool


def test_it_can_be_pickled(ranking):
    again = pickle.loads(pickle.dumps(ranking))
    assert str(again) == str(ranking)

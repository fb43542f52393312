from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from sktransfer import PretrainedImageClassifier
from sktransfer.ranking import fine_tuning
from sktransfer.ranking.fine_tuning import fine_tuned_accuracies, worth_fine_tuning
from tests.ranking.test_frozen_head import LITE, MNASNET, X, Y, candidates_of, comparison_of
from tests.small_estimators import LITE0, make_classifier, make_extractor


def measured(label, accuracy, published, *, is_whole=True):
    return SimpleNamespace(
        candidate=SimpleNamespace(label=label, is_whole=is_whole),
        fold_accuracies=np.array([accuracy, accuracy]),
        imagenet_accuracy=published,
    )


ALL = [
    measured("best head", 0.9, 0.6),
    measured("a stage", 0.95, np.nan, is_whole=False),
    measured("best published", 0.5, 0.8),
    measured("second of both", 0.8, 0.7),
    measured("random", 0.4, np.nan),
]


@pytest.mark.parametrize(
    ("k", "labels"),
    [
        (1, ["best head", "best published"]),
        (2, ["best head", "second of both", "best published"]),
        (9, ["best head", "second of both", "best published", "random"]),
    ],
)
def test_the_best_by_the_head_and_the_best_by_published_accuracy(k, labels):
    assert [each.label for each in worth_fine_tuning(ALL, k)] == labels


def test_accuracies_are_those_of_the_classifier_with_depth_auto(monkeypatch, tmp_path):
    depths = []

    class Noted(PretrainedImageClassifier):
        def fit(self, X, y):
            depths.append(self.unfreeze_depth)
            return super().fit(X, y)

    monkeypatch.setattr(fine_tuning, "PretrainedImageClassifier", Noted)
    comparison = comparison_of(Y[:24])
    candidate, _ = candidates_of(LITE, MNASNET)
    found = fine_tuned_accuracies(candidate, comparison)
    assert depths == ["auto"] * 3
    # The folds train on 16 rows: too few to compare depths, which would take many seconds.
    classifier = make_classifier(backbone=LITE0, unfreeze_depth="auto", cache=tmp_path)
    expected = cross_val_score(classifier, X[:24], Y[:24], cv=comparison.folds[:3])
    np.testing.assert_allclose(found, expected)


def test_fits_share_the_users_cache_or_one_of_their_own(monkeypatch, tmp_path):
    folders = []

    class Noted(PretrainedImageClassifier):
        def fit(self, X, y):
            folders.append((self.cache, Path(self.cache).exists()))
            return super().fit(X, y)

    monkeypatch.setattr(fine_tuning, "PretrainedImageClassifier", Noted)
    comparison = comparison_of(Y[:12])
    for cache in (tmp_path, None):
        candidate, _ = candidates_of(make_extractor(cache=cache), LITE)
        fine_tuned_accuracies(candidate, comparison)
    assert folders[:3] == [(tmp_path, True)] * 3
    own, *others = folders[3:]
    assert own != (tmp_path, True)
    assert others == [own] * 2
    assert not Path(own[0]).exists()  # once it is not needed any more


def test_an_interruption_is_not_taken_for_a_result(monkeypatch):
    class Interrupted(PretrainedImageClassifier):
        def fit(self, X, y):
            self.net_found = SimpleNamespace(interrupted_=True)
            return self

        net_ = property(lambda self: self.net_found)

    monkeypatch.setattr(fine_tuning, "PretrainedImageClassifier", Interrupted)
    candidate, _ = candidates_of(LITE, MNASNET)
    with pytest.raises(KeyboardInterrupt):
        fine_tuned_accuracies(candidate, comparison_of())

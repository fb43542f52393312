import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from sktransfer.estimators.labels import encoded
from sktransfer.exceptions import BackboneError
from sktransfer.images.sources import as_images
from sktransfer.ranking.candidates import as_candidates
from sktransfer.ranking.evidence import logme
from sktransfer.ranking.folds import folds_of
from sktransfer.ranking.frozen_head import Comparison
from sktransfer.selection.pictures import LabelledPictures
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

X, Y = make_pictures(30, n_classes=3)
X = (X // 8 + 100).astype(np.uint8)  # faint colours, so that heads make mistakes


def comparison_of(y=Y):
    n = len(y)
    labels = encoded(y, n, "test")
    whole = LabelledPictures(as_images(X[:n]), labels.y, np.ones(n), np.arange(n), None)
    sample = whole.sample(n, 0)
    return Comparison.of(sample, folds_of(3, sample, n), labels)


def candidates_of(*extractors):
    shared = {"cache": None, "device": "auto", "n_jobs": None, "verbose": 0}
    return as_candidates(extractors, shared)


LITE = make_extractor(backbone=LITE0)
MNASNET = make_extractor()


def test_accuracies_are_those_of_the_classifier():
    comparison = comparison_of()
    expected = cross_val_score(make_classifier(backbone=LITE0), X, Y, cv=comparison.folds)
    found = comparison.measured(candidates_of(LITE, MNASNET)[0]).fold_accuracies
    np.testing.assert_allclose(found, expected)
    assert found.std() > 0


def test_with_several_labels_too():
    y = np.stack([Y > 0, Y < 2], axis=1).astype(int)
    comparison = comparison_of(y)
    classifier = make_classifier(backbone=LITE0, loss="binary_cross_entropy")
    expected = cross_val_score(classifier, X, y, cv=comparison.folds)
    measured = comparison.measured(candidates_of(LITE, MNASNET)[0])
    np.testing.assert_allclose(measured.fold_accuracies, expected)
    np.testing.assert_allclose(measured.logme, logme(LITE.fit_transform(X), y))


def test_figures_of_a_candidate():
    lite, stage, mnasnet = candidates_of(
        LITE, make_extractor(backbone=LITE0, stage="level3"), MNASNET
    )
    comparison = comparison_of()
    whole = comparison.measured(lite)
    assert (whole.parameters, whole.features) == (3371008, 1280)
    assert whole.imagenet_accuracy == pytest.approx(0.751)
    assert whole.license == "Apache-2.0"
    indicator = (Y[:, None] == np.arange(3)).astype(float)
    np.testing.assert_allclose(whole.logme, logme(LITE.fit_transform(X), indicator))
    assert whole.seconds_per_1000 > 0
    part = comparison.measured(stage)
    assert part.parameters < whole.parameters / 10
    assert part.features == 40
    assert np.isnan(part.imagenet_accuracy)
    assert part.license == "Apache-2.0"
    random = comparison.measured(mnasnet)
    assert np.isnan(random.imagenet_accuracy)
    assert random.license == "unknown"


def test_what_comes_from_the_cache_is_not_timed(tmp_path):
    kept = make_extractor(backbone=LITE0, cache=tmp_path)
    candidate, _ = candidates_of(kept, MNASNET)
    comparison = comparison_of()
    first, again = (comparison.measured(candidate) for _ in range(2))
    assert first.seconds_per_1000 > 0
    assert np.isnan(again.seconds_per_1000)
    np.testing.assert_array_equal(again.fold_accuracies, first.fold_accuracies)


def test_a_stage_that_is_unknown_fails_before_any_picture_is_read(monkeypatch):
    monkeypatch.setattr(type(as_images(X)), "read", None)
    candidate, _ = candidates_of(make_extractor(stage="layer9"), MNASNET)
    with pytest.raises(BackboneError, match="layer9"):
        comparison_of().measured(candidate)

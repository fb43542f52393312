"""Sample weights: 0 is the same as leaving a row out, and partial_fit keeps their scale."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import PredefinedSplit

from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier

N = 30
X, Y = make_pictures(N, n_classes=3)
TEST, _ = make_pictures(9, n_classes=3, seed=1)
# The other rows have wrong labels and weight 0, so training on them would change the results.
PRESENT = np.arange(N) % 5 != 1
LABELS = np.where(PRESENT, Y, (Y + 1) % 3)
WEIGHTS = np.where(PRESENT, 2.0, 0.0)

HEAD = {"hidden_layer_sizes": (8,)}
STAGE = {"backbone": "mnasnet0_5", "unfreeze_depth": 1}

learner = partial(make_classifier, backbone=LITE0, lr=1e-2, max_epochs=2, batch_size=8)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        HEAD,
        {**HEAD, "sampling": "oversample", "class_weight": "balanced"},
        {**HEAD, "mixup": 0.4, "validation_fraction": 0.25},
        {**HEAD, "augment": "light", "n_views": 2, "validation_fraction": 0.25},
        {**HEAD, "validation_fraction": PredefinedSplit(np.arange(N) // 15 - 1)},
        {**STAGE, "batch_norm": "train", "sampling": "balanced"},
    ],
    ids=str,
)
def test_weight_0_is_as_good_as_absent(parameters):
    weighed = learner(**parameters).fit(X, LABELS, sample_weight=WEIGHTS)
    if hasattr(parameters.get("validation_fraction"), "split"):
        parameters = {
            **parameters,
            "validation_fraction": PredefinedSplit(np.arange(N)[PRESENT] // 15 - 1),
        }
    absent = learner(**parameters).fit(X[PRESENT], LABELS[PRESENT])
    assert len(weighed.history_) == len(absent.history_)
    for row, other in zip(weighed.history_, absent.history_, strict=True):
        assert row.pop("phase") == other.pop("phase")
        assert row == pytest.approx(other, rel=1e-3, abs=1e-4)
    assert_allclose(weighed.predict_proba(TEST), absent.predict_proba(TEST), atol=1e-3)


@pytest.mark.parametrize("parameters", [{}, HEAD], ids=str)
def test_weight_0_is_as_good_as_absent_in_pieces(parameters):
    weighed, absent = learner(**parameters), learner(**parameters)
    for rows in (slice(0, 15), slice(15, 30)):
        weighed.partial_fit(X[rows], LABELS[rows], [0, 1, 2], WEIGHTS[rows] / 2)
        kept = PRESENT[rows]
        absent.partial_fit(X[rows][kept], LABELS[rows][kept], [0, 1, 2])
    assert_allclose(weighed.predict_proba(TEST), absent.predict_proba(TEST), atol=1e-3)


def one_step(weight, label=0, **parameters):
    """Return the change of the scores by a partial_fit on one row of the given weight."""
    plain = partial(torch.optim.SGD)
    classifier = learner(optimizer=plain, weight_decay=0.0, lr=1e-4, **HEAD, **parameters)
    classifier.partial_fit(X, Y)
    before = classifier.decision_function(TEST)
    classifier.partial_fit(X[label : label + 1], Y[label : label + 1], sample_weight=[weight])
    return classifier.decision_function(TEST) - before, classifier.history_[-1]


def test_weights_keep_their_meaning_from_piece_to_piece():
    (one, record), (three, other) = one_step(1.0), one_step(3.0)
    assert np.abs(one).max() > 1e-5
    assert_allclose(three, 3 * one, rtol=0.05, atol=3e-6)
    assert np.abs(one_step(1e-6)[0]).max() < 2e-6
    assert record["train_loss"] == other["train_loss"]  # a weighted mean


def test_class_weights_keep_their_meaning_from_piece_to_piece():
    weights = {"class_weight": {0: 1.0, 1: 1.0, 2: 4.0}}
    alone, among = one_step(1.0, label=2, **weights)[0], one_step(0.25, label=2, **weights)[0]
    assert_allclose(alone, 4 * among, rtol=0.05, atol=3e-6)


def test_one_factor_for_all_weights_changes_nothing_in_a_fit():
    one, many = (learner(**HEAD).fit(X, Y, sample_weight=np.full(N, w)) for w in (1.0, 64.0))
    assert_array_equal(one.predict_proba(TEST), many.predict_proba(TEST))

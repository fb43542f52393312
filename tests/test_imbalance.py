"""Effect of each remedy for class imbalance on the recall of the rarest classes."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from sktransfer import load_clipart
from tests.small_estimators import LITE0, make_classifier

RARE = ["bug", "flower", "house"]
# Number of training rows per class; all others are test rows.
COUNTS = {"fruit": 45, "mammal": 60, "music": 40, "bug": 5, "flower": 5, "house": 5}


@pytest.fixture(scope="session")
def computed(tmp_path_factory):
    """Cache folder, so that the frozen stages run once for all tests."""
    return tmp_path_factory.mktemp("computed")


def split(seed):
    """Return an unbalanced training set, and all other drawings as the test set."""
    paths, labels = load_clipart(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    paths, labels = paths[order], labels[order]
    train = np.concatenate([np.flatnonzero(labels == c)[:n] for c, n in COUNTS.items()])
    test = np.setdiff1d(np.flatnonzero(np.isin(labels, list(COUNTS))), train)
    return paths[train], labels[train], paths[test], labels[test]


def rare_recall(folder, seed, **parameters):
    """Return the mean recall of the rarest classes on the test set."""
    X, y, test_X, test_y = split(seed)
    model = make_classifier(
        backbone=LITE0,
        image_size=64,
        engine="torch",
        cache=folder,
        random_state=seed,
        **{"weight_decay": 1e-3, **parameters},
    ).fit(X, y)
    return recall_score(test_y, model.predict(test_X), labels=RARE, average="macro")


@pytest.fixture(scope="module")
def plain(computed):
    return np.array([rare_recall(computed, seed) for seed in range(3)])


REMEDIES = pytest.mark.parametrize(
    "remedy",
    [
        {"class_weight": "balanced"},
        {"class_weight": dict.fromkeys(RARE, 10.0)},
        {"sampling": "oversample"},
        {"sampling": "undersample"},
        {"sampling": "balanced"},
    ],
    ids=str,
)


@REMEDIES
def test_a_remedy_lifts_the_recall_of_rare_classes(computed, plain, remedy):
    remedied = np.array([rare_recall(computed, seed, **remedy) for seed in range(3)])
    assert remedied.mean() > plain.mean() + 0.1
    assert (remedied >= plain).all()


@REMEDIES
def test_a_remedy_works_by_descent_too(computed, remedy):
    # Few epochs, because weights have no effect once all training rows are fitted perfectly.
    descent = {"hidden_layer_sizes": (32,), "lr": 1e-3, "max_epochs": 5}
    before = [rare_recall(computed, seed, **descent) for seed in range(2)]
    after = [rare_recall(computed, seed, **descent, **remedy) for seed in range(2)]
    assert np.mean(after) > np.mean(before) + 0.1

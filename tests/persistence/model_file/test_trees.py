import numpy as np
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.objects import parts_of
from sktransfer.persistence.model_file.trees import check_trees

X = np.random.default_rng(0).normal(size=(60, 3))
y = X[:, 0] + X[:, 1] > 0


def check(model):
    check_trees([*parts_of(model)])


def tree():
    return DecisionTreeClassifier(random_state=0).fit(X, y)


def boosted():
    categories = np.c_[(X[:, :1] > 0).astype(int), X[:, 1:]]
    model = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=2, categorical_features=[0])
    return model.fit(categories, y)


@pytest.mark.parametrize(
    "model",
    [
        tree(),
        boosted(),
        RandomForestClassifier(3).fit(X, y),
        GradientBoostingClassifier(n_estimators=3).fit(X, y),
        IsolationForest(n_estimators=3, max_features=2).fit(X),
        BaggingClassifier(DecisionTreeClassifier(), 3, max_features=2).fit(X, y),
        "no tree",
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_that_have_grown_are_let_through(model):
    check(model)


def with_nodes(model, change):
    state = model.tree_.__getstate__()
    change(state)
    model.tree_.__setstate__(state)
    return model


@pytest.mark.parametrize(
    ("place", "value"),
    [("left_child", 0), ("right_child", 10**6), ("left_child", -7), ("feature", 3)],
)
def test_nodes_that_lead_back_or_out(place, value):
    changed = with_nodes(tree(), lambda state: state["nodes"][place].__setitem__(0, value))
    with pytest.raises(ModelFileError, match="do not follow"):
        check(changed)


def test_a_depth_that_is_too_small():
    changed = with_nodes(tree(), lambda state: state.update(max_depth=0))
    with pytest.raises(ModelFileError, match="another depth"):
        check(changed)


def test_trees_of_other_features_than_their_owner():
    changed = tree()
    changed.n_features_in_ = 2
    with pytest.raises(ModelFileError, match="than its estimator"):
        check(changed)
    forest = RandomForestClassifier(3).fit(X, y)
    forest.n_features_in_ = 2
    with pytest.raises(ModelFileError, match="than its ensemble"):
        check(forest)
    bagging = BaggingClassifier(DecisionTreeClassifier(), 3, max_features=2).fit(X, y)
    bagging.estimators_features_[1] = np.array([0])
    with pytest.raises(ModelFileError, match="than its ensemble"):
        check(bagging)
    with pytest.raises(ModelFileError, match="belongs to no estimator"):
        check([tree().tree_])


@pytest.mark.parametrize(
    ("place", "value"), [("left", 0), ("right", 10**6), ("feature_idx", 2 * 10**9)]
)
def test_nodes_of_boosted_trees(place, value):
    changed = boosted()
    changed._predictors[0][0].nodes[place][0] = value
    with pytest.raises(ModelFileError, match="do not follow"):
        check(changed)


def test_categories_of_boosted_trees():
    changed = boosted()
    nodes = changed._predictors[0][0].nodes
    nodes["is_categorical"][0] = 1
    nodes["bitset_idx"][0] = 10**6
    with pytest.raises(ModelFileError, match="categories are missing"):
        check(changed)

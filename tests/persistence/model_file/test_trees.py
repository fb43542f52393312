import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.trees import check_tree

X = np.random.default_rng(0).normal(size=(60, 3))
y = X[:, 0] + X[:, 1] > 0


def tree():
    return DecisionTreeClassifier(random_state=0).fit(X, y).tree_


def boosted_tree():
    categories = (X > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=2, categorical_features=[0])
    return model.fit(np.c_[categories[:, :1], X], y)._predictors[0][0]


@pytest.mark.parametrize("make", [tree, boosted_tree])
def test_trees_that_have_grown_are_let_through(make):
    check_tree(make())
    check_tree("no tree")


@pytest.mark.parametrize(
    ("place", "value"),
    [("left_child", 0), ("right_child", 10**6), ("left_child", -7), ("feature", 3)],
)
def test_nodes_that_lead_back_or_out(place, value):
    changed = tree()
    state = changed.__getstate__()
    state["nodes"][place][0] = value
    changed.__setstate__(state)
    with pytest.raises(ModelFileError, match="do not follow"):
        check_tree(changed)


@pytest.mark.parametrize(("place", "value"), [("left", 0), ("right", 10**6)])
def test_nodes_of_boosted_trees(place, value):
    changed = boosted_tree()
    changed.nodes[place][0] = value
    with pytest.raises(ModelFileError, match="do not follow"):
        check_tree(changed)


def test_categories_of_boosted_trees():
    changed = boosted_tree()
    changed.nodes["is_categorical"][0] = 1
    changed.nodes["bitset_idx"][0] = 10**6
    with pytest.raises(ModelFileError, match="categories are missing"):
        check_tree(changed)

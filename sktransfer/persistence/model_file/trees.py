"""Decision trees of scikit-learn that can have grown from data.

The compiled code that walks through a tree compares nothing. A crafted one could be walked for
ever, or lead out of the memory of the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sktransfer.exceptions import ModelFileError


def check_trees(parts: list[Any]) -> None:
    """Raise if there is a tree among parts of an object that can't have grown from its data.

    Parameters
    ----------
    parts : list of object
        All parts of an object, which hold each other.

    Raises
    ------
    ModelFileError
    """
    known = {id(tree) for part in parts for tree in _checked_trees(part)}
    if any(id(part) not in known for part in parts if _kind(part)):
        raise ModelFileError("It holds a tree that belongs to no estimator.")


def _kind(thing: Any) -> str | None:
    """The name of its class, if it is a tree of scikit-learn's compiled code."""
    name = type(thing).__name__
    of_library = type(thing).__module__.startswith("sklearn.")
    return name if of_library and name in ("Tree", "TreePredictor") else None


def _checked_trees(owner: Any) -> Iterator[Any]:
    """Yield the trees of an estimator, which were compared with its number of features."""
    state = getattr(owner, "__dict__", {})
    n_features = state.get("n_features_in_")
    if _kind(state.get("tree_")) == "Tree":
        tree = state["tree_"]
        if tree.n_features != n_features:
            raise ModelFileError("It holds a tree of other features than its estimator.")
        children = np.stack([tree.children_left, tree.children_right])
        _check(tree.children_left == -1, children, tree.feature, n_features)
        if tree.max_depth != _depth(children):
            raise ModelFileError("It holds a tree that states another depth.")
        yield tree
    for predictor in np.ravel(state.get("_predictors", [])):
        if _kind(predictor) == "TreePredictor":
            _check_predictor(predictor, n_features)
            yield predictor
    _check_members(state, n_features)


def _check_members(state: dict[str, Any], n_features: Any) -> None:
    """Raise if an ensemble gives its trees fewer features than they expect."""
    members = np.ravel(np.asarray(state.get("estimators_", []), dtype=object))
    columns = state.get("estimators_features_", [None] * len(members))
    for member, chosen in zip(members, columns, strict=True):
        if "tree_" not in getattr(member, "__dict__", {}):
            continue
        given = n_features if chosen is None else len(chosen)
        if vars(member).get("n_features_in_") != given:
            raise ModelFileError("It holds a tree of other features than its ensemble.")


def _check_predictor(predictor: Any, n_features: Any) -> None:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    _check(is_leaf, np.stack([nodes["left"], nodes["right"]]), nodes["feature_idx"], n_features)
    is_categorical = nodes["is_categorical"].astype(bool) & ~is_leaf
    sets = min(len(predictor.raw_left_cat_bitsets), len(predictor.binned_left_cat_bitsets))
    if (nodes["bitset_idx"][is_categorical] >= sets).any():
        raise ModelFileError("It holds a tree whose categories are missing.")


def _check(is_leaf: np.ndarray, children: np.ndarray, feature: np.ndarray, n_features: Any) -> None:
    places, inner = np.arange(len(is_leaf)), ~is_leaf
    # In int64: unsigned numbers of nodes would turn around.
    children = children[:, inner].astype(np.int64)
    follows = (children > places[inner]) & (children < len(places))
    known = (feature[inner] >= 0) & (feature[inner] < n_features)
    if not len(places) or not follows.all() or not known.all():
        raise ModelFileError("It holds a tree whose nodes do not follow each other.")


def _depth(children: np.ndarray) -> int:
    """Depth of a tree whose children follow their parents; a root alone has 0."""
    depths = np.zeros(children.shape[1], dtype=np.int64)
    for parent, (left, right) in enumerate(children.T):
        if left != -1:
            depths[[left, right]] = depths[parent] + 1
    return int(depths.max())

"""Decision trees of scikit-learn whose nodes lead nowhere but to later nodes of the tree.

The compiled code that walks through a tree compares nothing: a crafted one could be walked for
ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.exceptions import ModelFileError


def check_tree(thing: Any) -> None:
    """Raise if it is a tree that can't have grown from data.

    Raises
    ------
    ModelFileError
    """
    kind = type(thing).__name__
    if kind == "Tree" and type(thing).__module__ == "sklearn.tree._tree":
        is_leaf = thing.children_left == -1
        _check(is_leaf, thing.children_left, thing.children_right, thing.feature, thing.n_features)
    if kind == "TreePredictor" and type(thing).__module__.startswith("sklearn.ensemble."):
        nodes = thing.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        # Boosted trees do not know the number of features, which their booster checks.
        _check(is_leaf, nodes["left"], nodes["right"], nodes["feature_idx"], 2**31)
        is_categorical = nodes["is_categorical"].astype(bool) & ~is_leaf
        sets = min(len(thing.raw_left_cat_bitsets), len(thing.binned_left_cat_bitsets))
        if (nodes["bitset_idx"][is_categorical] >= sets).any():
            raise ModelFileError("It holds a tree whose categories are missing.")


def _check(
    is_leaf: np.ndarray, left: np.ndarray, right: np.ndarray, feature: np.ndarray, n_features: int
) -> None:
    places, inner = np.arange(len(is_leaf)), ~is_leaf
    # In int64: unsigned numbers of nodes would turn around.
    children = np.stack([left, right])[:, inner].astype(np.int64)
    follows = (children > places[inner]) & (children < len(places))
    known = (feature[inner] >= 0) & (feature[inner] < n_features)
    if not len(places) or not follows.all() or not known.all():
        raise ModelFileError("It holds a tree whose nodes do not follow each other.")

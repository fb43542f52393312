"""Material for the checks, made without pictures."""

import numpy as np

from sktransfer.inspection.data_checks.material import Material, labels_of
from sktransfer.inspection.data_checks.picture_facts import PictureFacts


def make_facts(n, **fields):
    """Facts of n different pictures; each field has one value for all, or a list of them."""
    given = {
        name: values if isinstance(values, list) else [values] * n
        for name, values in fields.items()
    }
    found = []
    for i in range(n):
        own = {name: values[i] for name, values in given.items()}
        path = own.get("path", f"folder/{i}.jpg")
        usual = {
            "name": path or f"row {i} of X",
            "path": path,
            "digest": i.to_bytes(4, "big"),
            "size": (200, 150),
            "spread": 50.0,
            "hashes": some_hashes(i),
        }
        found.append(PictureFacts(**{**usual, **own}))
    return found


def some_hashes(seed):
    """Hashes that differ in about half of their bits from those of another seed."""
    words = np.random.default_rng(seed).integers(0, 2**63, 2)
    return int(words[0]), int(words[1])


def make_material(n, y=None, n_test=0, features=None, **fields):
    """Material of n pictures in X and n_test in X_test."""
    features = None if features is None else np.asarray(features, dtype=np.float32)
    return Material(
        make_facts(n + n_test, **fields),
        n,
        labels_of(y, n),
        features,
        why_no_features="there is no network",
    )


def separable(y, seed=0, width=8):
    """Features (n, width) that tell the classes apart."""
    rng = np.random.default_rng(seed)
    codes = np.unique(y, return_inverse=True)[1]
    return 4 * np.eye(width)[codes] + rng.normal(0, 0.5, (len(codes), width))

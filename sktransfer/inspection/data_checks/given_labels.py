"""The labels in y as the user sees them."""

from __future__ import annotations

from typing import Any

import numpy as np


def given_labels(y: Any) -> Any:
    """A vector of the labels in y, if y has one for each picture; else y as it is.

    scikit-learn turns pandas' nullable integers and booleans into floats: a label 1 would be shown
    and written as 1.0.

    Parameters
    ----------
    y : array-like
        A list stays as it is.
    """
    shape = getattr(y, "shape", ())
    if hasattr(y, "toarray") or not (len(shape) == 1 or shape[1:] == (1,)):
        return y
    if hasattr(y, "iloc") and len(shape) == 2:
        y = y.iloc[:, 0]  # a column keeps its type, which a table of several types has not
    found = np.asarray(y)
    is_nullable = not isinstance(y.dtype, np.dtype)
    if is_nullable and found.dtype == object:  # NumPy's types come with newer versions of pandas
        plain = np.array(found.tolist())
        found = plain if plain.dtype.kind in "iub" else found
    return found.reshape(len(found))

"""What both estimators do with a faulty X, in their fit and after it."""

import warnings
from contextlib import contextmanager
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from sktransfer.exceptions import ImageError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

# Its random weights give features of about 1, so that differences of 1e-5 mean something.
extractor = partial(make_extractor, backbone="squeezenet1_1")
classifier = partial(make_classifier, backbone="squeezenet1_1")

PICTURES, LABELS = make_pictures(8)


@cache
def fitted():
    """Both estimators, fitted to undamaged pictures."""
    return extractor().fit(PICTURES), classifier().fit(PICTURES, LABELS)


@cache
def clean_features():
    """The features of the undamaged pictures."""
    return fitted()[0].transform(PICTURES)


@cache
def learned():
    """What a classifier that is fitted to undamaged pictures says of them."""
    return fitted()[1].predict_proba(PICTURES)


def check_refused(X, match, error=ImageError):
    """Assert that X is an error in fit, transform and predict, and leaves a fit unfitted."""
    features, labels = fitted()
    unfitted = classifier()
    y = np.arange(len(X)) % 2
    for call in (
        lambda: extractor().fit_transform(X),
        lambda: features.transform(X),
        lambda: unfitted.fit(X, y),
        lambda: labels.predict(X),
    ):
        with pytest.raises(error, match=match):
            call()
    assert not hasattr(unfitted, "classes_")


def check_as_clean(*forms, clean=PICTURES, atol=1e-5):
    """Assert that both estimators give for each X what they give for undamaged pictures.

    All are transformed and predicted; the last one is fitted too.
    """
    features, labels = fitted()
    expected, probabilities = features.transform(clean), labels.predict_proba(clean)
    for X in forms:
        assert_allclose(features.transform(X), expected, rtol=1e-5, atol=atol)
        assert_allclose(labels.predict_proba(X), probabilities, rtol=1e-5, atol=atol)
    y = np.arange(len(clean)) % 2
    proba = (
        classifier().fit(clean, y).predict_proba(PICTURES) if clean is not PICTURES else learned()
    )
    assert_allclose(classifier().fit(X, y).predict_proba(PICTURES), proba, atol=100 * atol)


def containers(pictures):
    """Arrays of pictures of one size, in every container that may hold them."""
    pictures = np.asarray(pictures)
    each = list(pictures)
    objects = np.empty(len(each), dtype=object)
    objects[:] = each
    tensor = torch.from_numpy(np.moveaxis(pictures, -1, 1).copy())
    return {
        "array": pictures,
        "list": each,
        "array of objects": objects,
        "Series": pd.Series(each, index=range(7, 7 + len(each))),
        "DataFrame": pd.DataFrame({"picture": each}),
        "tensor": tensor,
        "list of tensors": list(tensor),
    }


def columns(paths):
    """Paths in every container that may hold them."""
    return {
        "list": list(paths),
        "array of objects": np.array(paths, dtype=object),
        "Series": pd.Series(paths, index=range(7, 7 + len(paths)), dtype=object),
        "DataFrame": pd.DataFrame({"path": pd.Series(paths, dtype=object)}),
    }


def with_one(item, row=5):
    """The undamaged pictures as a list, with another one in a row."""
    return [*PICTURES[:row], item, *PICTURES[row + 1 :]]


@contextmanager
def told(category=UserWarning):
    """The messages of all warnings of a category in a block; others raise."""
    messages = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Training ended")
        warnings.filterwarnings("always", category=category)
        yield messages
        messages += [str(warning.message) for warning in found]

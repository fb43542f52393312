import warnings

import numpy as np
import pytest
import torch
from pandas import DataFrame
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from torch import nn

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.explanation.linear_head import linear_of_head, linear_of_steps
from sktransfer.training.head import Dropout, NormalisedLinear, Scaled, build_head

X = np.random.default_rng(0).normal(3, 2, size=(40, 6)).astype(np.float32)
THREE = (X[:, :3].argmax(1)).astype(str)
TWO = X[:, 0] > 3


def scores_of(steps, y, X=X):
    model = make_pipeline(*steps).fit(X, y)
    linear = linear_of_steps([step for _, step in model.steps], X.shape[1])
    return linear(torch.from_numpy(X)).numpy(), model.decision_function(X)


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        LinearSVC(),
        SGDClassifier(random_state=0),
        RidgeClassifier(),
        RidgeClassifier(fit_intercept=False),
        LinearDiscriminantAnalysis(),
        OneVsRestClassifier(LogisticRegression()),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "steps",
    [
        [],
        [StandardScaler()],
        [MinMaxScaler(), PCA(4, whiten=True)],
        [RobustScaler(), MaxAbsScaler()],
        [TruncatedSVD(3, random_state=0)],
    ],
    ids=repr,
)
def test_scores_are_those_of_the_steps(classifier, steps):
    found, expected = scores_of([*steps, classifier], THREE)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    found, expected = scores_of([*steps, classifier], TWO)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[:, 0], -found[:, 1])


def test_more_features_than_are_transformed_at_once():
    wide = np.random.default_rng(0).normal(size=(20, 1500)).astype(np.float32)
    y = np.arange(20) % 3
    found, expected = scores_of([StandardScaler(), RidgeClassifier()], y, wide)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([KNeighborsClassifier()], "KNeighborsClassifier, is no linear model"),
        ([SVC(kernel="linear")], "SVC, is no linear model"),
        ([OneVsRestClassifier(DummyClassifier())], "DummyClassifier, is no linear model"),
        ([Normalizer(), LogisticRegression()], "Normalizer, between the extractor"),
        ([MinMaxScaler(clip=True), LogisticRegression()], "MinMaxScaler, between the extractor"),
    ],
)
def test_other_steps_are_named(steps, named):
    with pytest.raises(ParameterError, match=f"{named}.*occlusion"):
        scores_of(steps, THREE)


FEATURES = torch.randn(5, 8)


def solved():
    head = NormalisedLinear(torch.randn(8), torch.tensor(2.5), 3)
    nn.init.normal_(head.linear.weight)
    nn.init.normal_(head.linear.bias)
    return head


@pytest.mark.parametrize(
    "head",
    [
        lambda: [nn.Linear(8, 3)],
        lambda: [Dropout(0.5), nn.Linear(8, 3)],
        lambda: [Scaled(3 * FEATURES), nn.Linear(8, 3)],
        lambda: [Dropout(0.5), solved()],
        lambda: build_head(8, (), 0.5, 3),
    ],
)
def test_a_head_without_hidden_layers_is_one_layer(head):
    head = nn.Sequential(*head()).eval()
    torch.testing.assert_close(linear_of_head(head)(FEATURES), head(FEATURES))


def test_a_head_with_hidden_layers_is_not():
    assert linear_of_head(build_head(8, (4,), 0.0, 3)) is None


def test_sparse_weights():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, THREE)
    expected = model.decision_function(X)
    model[-1].sparsify()
    scores = linear_of_steps([step for _, step in model.steps], 6)(torch.from_numpy(X))
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_steps_that_were_fitted_with_names():
    """Nothing warns of names, and the steps keep theirs."""
    model = make_pipeline(StandardScaler(), PCA(3), LogisticRegression())
    model.set_output(transform="pandas").fit(DataFrame(X).add_prefix("x"), THREE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear = linear_of_steps([step for _, step in model.steps], 6)
    expected = model.decision_function(DataFrame(X).add_prefix("x"))
    np.testing.assert_allclose(linear(torch.from_numpy(X)), expected, atol=1e-4)
    assert model[0].feature_names_in_[0] == "x0"

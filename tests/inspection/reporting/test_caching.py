import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktransfer.inspection.reporting.caching import with_cache
from sktransfer.inspection.subject import subject_of
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(12)


@pytest.mark.parametrize(
    "make",
    [
        make_classifier,
        lambda: make_pipeline(make_extractor(), StandardScaler(), LogisticRegression()),
        lambda: make_pipeline(
            FunctionTransformer(),
            make_pipeline(make_extractor(), StandardScaler()),
            LogisticRegression(),
        ),
        lambda: make_pipeline(FunctionTransformer(), make_classifier()),
    ],
)
def test_a_copy_predicts_the_same_with_its_own_cache(make, tmp_path):
    model = make().fit(X, y)
    before = repr(model.get_params())
    subject = subject_of(model, "a test")
    cached = with_cache(subject, tmp_path)
    np.testing.assert_allclose(cached.estimator.predict_proba(X), model.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(cached.features(X), subject.features(X), atol=1e-6)
    assert list(tmp_path.iterdir())
    assert repr(model.get_params()) == before
    assert cached.name == subject.name
    assert with_cache(cached, None).network.cache is None


def test_without_a_backbone_nothing_changes(tmp_path):
    subject = subject_of(LogisticRegression().fit(X[:, 0, 0], y), "a test")
    assert with_cache(subject, tmp_path) is subject

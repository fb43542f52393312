"""skore's report takes our estimators, with a DataFrame of one column of paths."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.conftest import make_pictures, save_pictures
from tests.small_estimators import make_classifier, make_extractor

skore = pytest.importorskip("skore")

X, y = make_pictures(40)
LABELS = np.array(["red", "green"])[y]


@pytest.mark.filterwarnings("ignore")  # those of skore and of what it imports
@pytest.mark.parametrize(
    "make", [make_classifier, lambda: make_pipeline(make_extractor(), LogisticRegression())]
)
def test_a_report_of_skore(make, tmp_path):
    paths = pd.DataFrame({"path": save_pictures(X, tmp_path)})
    parts = {"X_train": paths[:24], "y_train": LABELS[:24], "X_test": paths[24:]}
    found = skore.EstimatorReport(make(), **parts, y_test=LABELS[24:])
    fitted = make().fit(paths[:24], LABELS[:24])
    assert found.metrics.accuracy() == fitted.score(paths[24:], LABELS[24:])
    assert "<" in found._repr_html_()

"""Write model files that all later versions must open.

`python -m tests.persistence.model_file.keep_files` is run once for each new format; the files of
earlier formats stay.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import save
from sktransfer.persistence.model_file.manifest import FORMAT
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

X, y = make_pictures(24)
names = np.array(["red", "green"])[y]


def estimators():
    """Names, fitted estimators and the method that is compared."""
    frozen = make_classifier(backbone=LITE0, class_weight={"red": 2.0, "green": 1.0})
    yield "classifier", frozen.fit(X, names), "predict_proba"
    layers = make_classifier(
        backbone=LITE0, hidden_layer_sizes=(4,), dropout=0.5, optimizer="adamw"
    )
    yield "in_pieces", layers.partial_fit(X, y), "predict_proba"
    several = make_classifier(backbone=LITE0, loss="binary_cross_entropy", resize="pad")
    yield "several_labels", several.fit(X, np.stack([y, 1 - y, y], axis=1)), "predict_proba"
    yield (
        "extractor",
        make_extractor(backbone=LITE0, stage=["level2"], pooling="avg").fit(X),
        "transform",
    )
    extractor = make_extractor(backbone=LITE0, stage="level2", pooling="avg")
    pipeline = make_pipeline(extractor, StandardScaler(), LogisticRegression())
    yield "pipeline", pipeline.fit(X, names), "predict_proba"


if __name__ == "__main__":
    folder = Path(__file__).parent / "files"
    for name, estimator, method in estimators():
        path = folder / f"format_{FORMAT}_{name}.skt"
        save(estimator, path)
        values = getattr(estimator, method)(X[:4]).tolist()
        expected = {"method": method, "values": values, "class": type(estimator).__name__}
        path.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n")

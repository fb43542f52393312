"""Pictures and a table in one model, through a ColumnTransformer.

The DataFrame has a column of paths, and columns of facts about the files: their size, the
side, brightness, colourfulness and share of white of the drawings. The column of paths goes
through the backbone, the others are standardised, and one logistic regression reads both.
Compares pictures only, table only, and both, over the same folds.

What to expect: the facts are real but say little that the pictures don't, so that the table
alone beats guessing and adds next to nothing to the pictures. With facts that no picture
shows, such as a price or a place, the same lines earn their keep.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import PretrainedFeatureExtractor, load_clipart

TABLE = ["bytes", "side", "brightness", "colourfulness", "white"]


def facts(path: str) -> dict[str, float | str]:
    """What can be told of a file without a network."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=float)
    return {
        "path": path,
        "bytes": Path(path).stat().st_size,
        "side": pixels.shape[0],
        "brightness": pixels.mean(),
        "colourfulness": (pixels.max(axis=2) - pixels.min(axis=2)).mean(),
        "white": (pixels.min(axis=2) > 250).mean(),
    }


paths, labels = load_clipart(return_X_y=True)
paths, _, labels, _ = train_test_split(
    paths, labels, train_size=160, stratify=labels, random_state=0
)
frame = pd.DataFrame([facts(path) for path in paths])
print(frame.drop(columns="path").describe().loc[["mean", "min", "max"]].round(1), end="\n\n")

pictures = ("pictures", PretrainedFeatureExtractor("efficientnet_lite0"), "path")
table = ("table", StandardScaler(), TABLE)
folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)


def report(name, model):
    """Cross-validate a model and print its accuracy."""
    scores = cross_val_score(model, frame, labels, cv=folds)
    print(f"{name:15} accuracy {scores.mean():.3f} +/- {scores.std():.3f}", flush=True)


report("guessing", DummyClassifier())
for name, columns in [
    ("table only", [table]),
    ("pictures only", [pictures]),
    ("both", [pictures, table]),
]:
    report(name, make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1000)))

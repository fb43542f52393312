"""Combine pictures and tabular data in one model with a ColumnTransformer.

The DataFrame has a column of paths, and numeric columns with properties of the files: size in
bytes, side, brightness, colourfulness and share of white pixels. The backbone turns the paths into
features, the other columns are standardised, and a logistic regression is fitted on both. The
script compares pictures only, the table only, and both, on the same folds.

The table is better than guessing, but hardly improves the model with pictures, because the
pictures contain the same information. Columns that a picture does not show, such as a price or a
place, can improve it.
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
    """Return properties of a picture that need no network."""
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

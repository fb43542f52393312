"""Report on a classifier of drawings, as one HTML page, in less than a minute on two cores.

The classifier is that of the quick start: a new head on EfficientNet-Lite0, fitted on 70 % of the
packaged drawings and tested on the others. The page shows its mistakes with maps of what speaks
for them, the nearest training drawings, scores with intervals, the confusion matrix with its
pictures, calibration, the accuracy for drawings in colour and for others, what may be wrong with
the data, and a model card. The script saves ``report.html``.
"""

import time

import numpy as np
from PIL import Image
from sklearn.model_selection import train_test_split

from sktransfer import PretrainedImageClassifier, group_metrics, load_clipart, report

OUTPUT = "report.html"
START = time.perf_counter()


def is_coloured(path: str) -> str:
    """Tell drawings in colour from those in black, white and grey."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    return "in colour" if np.ptp(pixels, axis=2).max() > 40 else "without colour"


paths, labels = load_clipart(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    paths, labels, test_size=0.3, stratify=labels, random_state=0
)
classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0).fit(X_train, y_train)

groups = [is_coloured(path) for path in X_test]
print(group_metrics(y_test, classifier.predict(X_test), groups, ["accuracy"]))

page = report(
    *(classifier, X_test, y_test),
    X_train=X_train,
    y_train=y_train,
    groups=groups,
    path=OUTPUT,
    card={
        "intended use": "An example: to sort drawings of the Open Clip Art Library.",
        "limits": "Portraits of musicians are in the class music, and look like mammals to it.",
    },
)
print(page)
print(f"Saved {OUTPUT} after {time.perf_counter() - START:.0f} s. Open it in a browser.")

"""Draw the pictures of docs/inspection.md: mistakes with maps, neighbors, and the feature space."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from sktransfer import (
    FeatureMapDisplay,
    MistakesDisplay,
    NeighborsDisplay,
    PretrainedImageClassifier,
    load_clipart,
)

HERE = Path(__file__).parent
paths, labels = load_clipart(return_X_y=True)
X, y, X_test, y_test = paths[::2], labels[::2], paths[1::2], labels[1::2]
classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0).fit(X, y)

mistakes = MistakesDisplay.from_estimator(
    classifier, X_test, y_test, order="confidence", n_pictures=6, maps=True
)
mistakes.figure_.savefig(HERE / "mistakes.png", dpi=85)
neighbors = NeighborsDisplay.from_estimator(classifier, [X_test[i] for i in (50, 101)], X, y)
neighbors.figure_.savefig(HERE / "neighbors.png", dpi=85)
space = FeatureMapDisplay.from_estimator(classifier, X, y, method="tsne", n_thumbnails=40)
space.figure_.savefig(HERE / "feature_map.png", dpi=85)

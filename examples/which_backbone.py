"""Rank what is at hand without internet on the packaged drawings, and plot accuracy against time.

The candidates are three networks, two of which are larger than the first; two stages within the
smallest one; and its structure with random weights, as the floor. All of them see half of the
drawings, at 128 pixels to keep this example short. The most accurate of them was chosen by the
folds that judge it, so the script fits it once more, and judges it on the other half. It saves
``which_backbone.png``.
"""

import matplotlib

matplotlib.use("Agg")

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import (
    PretrainedFeatureExtractor,
    RankingDisplay,
    load_clipart,
    rank_backbones,
)

OUTPUT = "which_backbone.png"

paths, labels = load_clipart(return_X_y=True)
X, y = paths[::2], labels[::2]

candidates = [
    {"backbone": "efficientnet_lite0"},
    {"backbone": "efficientnet_lite1"},
    {"backbone": "efficientnet_lite2"},
    {"backbone": "efficientnet_lite0", "stage": "level4"},
    {"backbone": "efficientnet_lite0", "stage": ["level4", "level5"]},
    {"backbone": "efficientnet_lite0", "weights": None},
]
ranking = rank_backbones(
    X, y, [PretrainedFeatureExtractor(**each, image_size=128) for each in candidates]
)
print(ranking)

best = make_pipeline(ranking.extractors[0], LogisticRegression(max_iter=1000)).fit(X, y)
score = best.score(paths[1::2], labels[1::2])
print(f"\nThe first one has {score:.3f} on the other {len(paths[1::2])} drawings.")

display = RankingDisplay.from_ranking(ranking)
display.ax_.set_title(f"{ranking.n_pictures} drawings of {len(set(y))} classes")
display.figure_.savefig(OUTPUT, dpi=110)
print(f"Saved {OUTPUT}.")

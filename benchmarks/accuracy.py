"""Accuracy on real pictures with pretrained weights.

Run with ``python -m benchmarks.accuracy``; about ten minutes on two cores.
"""

from tempfile import TemporaryDirectory

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from benchmarks._common import ants_and_bees, arguments, mobilenet, print_machine
from sktransfer import (
    PretrainedFeatureExtractor,
    PretrainedImageClassifier,
    load_clipart,
)

SEEDS = range(5)


def report(data, model, scores):
    """Print one row of the table: the mean over seeds, with the spread if there are several."""
    spread = f" ± {np.std(scores):.3f}" if len(scores) > 1 else ""
    print(f"| {data} | {model} | {np.mean(scores):.3f}{spread} |", flush=True)


def ants_bees(data):
    """MobileNetV2 on the 244 + 153 photos of the PyTorch tutorial."""
    train, validation = ants_and_bees(data, "train"), ants_and_bees(data, "val")
    network = mobilenet(data)
    linear = make_pipeline(PretrainedFeatureExtractor(**network), LogisticRegression(max_iter=1000))
    report("ants_bees", "extractor + LogisticRegression", [linear.fit(*train).score(*validation)])
    for title, parameters in {
        "classifier, defaults": {},
        "classifier, unfreeze_depth=1": {"unfreeze_depth": 1},
        'classifier, unfreeze_depth="auto"': {"unfreeze_depth": "auto"},
        "classifier, hidden_layer_sizes=(1024,)": {"hidden_layer_sizes": (1024,)},
    }.items():
        # With defaults the problem is convex, and its solution does not depend on the seed.
        seeds = [0] if not parameters else SEEDS
        scores = [
            PretrainedImageClassifier(**network, **parameters, random_state=seed)
            .fit(*train)
            .score(*validation)
            for seed in seeds
        ]
        report("ants_bees", title, scores)


def imagenet_samples(data):
    """The pretrained classifier itself, on photos of every fifth class of ImageNet."""
    paths = sorted(str(p) for p in (data / "data" / "imagenet_samples").iterdir())
    extractor = PretrainedFeatureExtractor("efficientnet_lite0", stage="logits")
    # Sorted, the i-th file is of class 5 i.
    right = extractor.fit_transform(paths).argmax(1) == np.arange(len(paths)) * 5
    report("imagenet_samples", 'efficientnet_lite0, stage="logits"', [right.mean()])


def clipart(X, y):
    """EfficientNet-Lite0 on drawings, in 5-fold cross-validation."""
    # The extractor learns nothing from the data, so features that are computed once give the
    # same scores as cross-validating a pipeline with the extractor.
    features = PretrainedFeatureExtractor("efficientnet_lite0").fit_transform(X)
    scores = []
    for seed in SEEDS:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        linear = LogisticRegression(max_iter=1000)
        scores.append(cross_val_score(linear, features, y, cv=folds).mean())
    report("clip-art", "extractor + LogisticRegression, 5-fold CV", scores)


def clipart_tuned(X, y):
    """The classifier, with weight decay and class weight from a grid search on the same folds."""
    grid = {"weight_decay": [1e-4, 3e-4, 1e-3], "class_weight": [None, "balanced"]}
    best, scores = [], []
    with TemporaryDirectory() as folder:
        classifier = PretrainedImageClassifier("efficientnet_lite0", cache=folder, random_state=0)
        for seed in SEEDS:
            folds = StratifiedKFold(5, shuffle=True, random_state=seed)
            search = GridSearchCV(classifier, grid, cv=folds, refit=False).fit(X, y)
            best.append(search.best_score_)
            scores.append(search.cv_results_["mean_test_score"])
    # The best of several scores is slightly optimistic, so the score of each is printed too.
    for parameters, of_candidate in zip(
        search.cv_results_["params"], np.transpose(scores), strict=True
    ):
        report("clip-art", f"classifier, {parameters}, 5-fold CV", of_candidate)
    report("clip-art", "classifier, best of these, 5-fold CV", best)


def main():
    options = arguments(__doc__)
    print_machine()
    print("| data | model | accuracy |\n|---|---|---|")
    ants_bees(options.data)
    imagenet_samples(options.data)
    clipart(*load_clipart(return_X_y=True))
    clipart_tuned(*load_clipart(return_X_y=True))


if __name__ == "__main__":
    main()

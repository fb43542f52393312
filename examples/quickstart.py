"""From a folder of pictures to a confusion matrix, in about two minutes on two cores.

Two estimators of sktransfer are used with tools of scikit-learn:

1. frozen features with logistic regression, cross-validated;
2. a classifier with a new head, fitted on a training split;
3. a grid search over the depth of fine-tuning and the class weights;
4. a report on test pictures that no earlier step has used for fitting.

The pictures come with the package, and the weights with its ``offline`` extra, so nothing is
downloaded. The confusion matrix is saved as a picture in the current folder.
"""

import time

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, classification_report, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, load_clipart

BACKBONE = "efficientnet_lite0"
OUTPUT = "quickstart_confusion_matrix.png"
START = time.perf_counter()


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"[{time.perf_counter() - START:5.1f} s] {text}", flush=True)


clipart = load_clipart()
paths, labels = clipart.data, clipart.target
say(f"{len(paths)} drawings of {len(clipart.target_names)} classes: {clipart.target_names}")

# 1. Frozen features. The extractor learns nothing from the pictures, so computing features once
# gives the same scores as a pipeline of both steps, which would compute them in each fold.
say("1. Extracting features, once for all five folds ...")
features = PretrainedFeatureExtractor(BACKBONE).fit_transform(paths)
say(f"   features: {features.shape}; cross-validating logistic regression on them ...")
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
scores = cross_val_score(LogisticRegression(max_iter=1000), features, labels, cv=folds)
say(f"   accuracy {scores.mean():.3f} +/- {scores.std():.3f} over {len(scores)} folds")

# 2. A classifier. It is fitted on paths, and computes the features itself.
train_paths, test_paths, train_labels, test_labels = train_test_split(
    paths, labels, test_size=0.3, stratify=labels, random_state=0
)
say(f"2. Fitting a new head on {len(train_paths)} drawings ...")
classifier = PretrainedImageClassifier(BACKBONE, random_state=0).fit(train_paths, train_labels)
accuracy = classifier.score(test_paths, test_labels)
say(f"   accuracy {accuracy:.3f} on the {len(test_paths)} others")

# 3. A grid search. It uses about a quarter of the training drawings, to be fast. The best
# candidate is then fitted on all of them.
search_paths, _, search_labels, _ = train_test_split(
    train_paths, train_labels, train_size=96, stratify=train_labels, random_state=0
)
pipeline = Pipeline(
    [("classify", PretrainedImageClassifier(BACKBONE, max_epochs=3, random_state=0))]
)
grid = {"classify__unfreeze_depth": [0, 1], "classify__class_weight": [None, "balanced"]}
search = GridSearchCV(pipeline, grid, cv=3, scoring="balanced_accuracy", refit=False)
say(f"3. Searching 4 candidates x 3 folds of {len(search_paths)} drawings ...")
search.fit(search_paths, search_labels)
results = search.cv_results_
for params, mean, std in zip(
    results["params"], results["mean_test_score"], results["std_test_score"], strict=True
):
    shown = ", ".join(f"{name.removeprefix('classify__')}={v!r}" for name, v in params.items())
    say(f"   balanced accuracy {mean:.3f} +/- {std:.3f}  {shown}")
say(f"   Fitting the best of them on all {len(train_paths)} training drawings ...")
best = pipeline.set_params(**search.best_params_).fit(train_paths, train_labels)

# 4. The report. The pictures are read once, for the probabilities; all scores follow from these.
say(f"4. Testing it on the {len(test_paths)} others ...")
probabilities = best.predict_proba(test_paths)
predicted = best.classes_[probabilities.argmax(axis=1)]
print(classification_report(test_labels, predicted))
auc = roc_auc_score(test_labels, probabilities, multi_class="ovr", average="macro")
say(f"   AUC-ROC, each class against the rest, mean over the classes: {auc:.3f}")

figure, axes = plt.subplots(figsize=(5.8, 5.6), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    test_labels, predicted, cmap="Blues", colorbar=False, xticks_rotation=45, ax=axes
)
axes.set(xlabel="predicted", ylabel="true", title=f"{len(test_paths)} held-out drawings")
figure.savefig(OUTPUT, dpi=120)
say(f"Saved {OUTPUT}. Done.")

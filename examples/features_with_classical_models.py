"""Extract features once, and compare several scikit-learn models on them.

The backbone runs once over the pictures. Support vector machines, boosted trees, nearest
neighbours and logistic regression are then cross-validated on the features, in seconds. The
extractor learns nothing from the data, so the scores are the same as with the extractor in each
pipeline.
"""

import time

from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktransfer import PretrainedFeatureExtractor, load_clipart

paths, labels = load_clipart(return_X_y=True)

start = time.perf_counter()
features = PretrainedFeatureExtractor("efficientnet_lite0").fit_transform(paths)
print(f"{features.shape} features in {time.perf_counter() - start:.1f} s")

models = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "support vectors": make_pipeline(StandardScaler(), SVC(C=10)),
    "15 nearest neighbours": KNeighborsClassifier(15, weights="distance", metric="cosine"),
    # Each split of a tree uses a single column, and a principal component holds more information
    # than one of the 1,280 features.
    "boosted trees": make_pipeline(
        PCA(30, random_state=0), HistGradientBoostingClassifier(max_iter=40, random_state=0)
    ),
}
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
for name, model in models.items():
    start = time.perf_counter()
    scores = cross_val_score(model, features, labels, cv=folds)
    seconds = time.perf_counter() - start
    print(f"{name:22} accuracy {scores.mean():.3f} +/- {scores.std():.3f} in {seconds:.1f} s")

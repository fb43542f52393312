"""One extraction, many models: the features are an array like any other.

The backbone runs once over the pictures. Support vectors, boosted trees, neighbours and
logistic regression are then cross-validated on what it gave, in seconds. Extraction learns
nothing from the data, so this is as honest as putting the extractor into each pipeline.
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
    # Trees look at one column at a time, and 30 components hold more each than 1,280 features.
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

"""Few labels: which pictures to label first, prototypes, and what unlabelled pictures add.

Features of the frozen EfficientNet-Lite0 are computed once. Each seed draws a pool of pictures to
label from, and test pictures; all that is compared gets the same ones, so that differences are
paired.

- curves: pictures are chosen by scikit-activeml, on centred features of length 1: at random, by
  TypiClust (Hacohen et al., ICML 2022), by ProbCover (Yehuda et al., NeurIPS 2022), or by TypiClust
  for the first ten labels and then by the margin of the head. They come in steps of ten, and
  scikit-learn's logistic regression is trained on those that have a label.
- prototypes: as many labels for each class, drawn at random, for the nearest class mean and for
  logistic regression.
- unlabelled: self-training and label spreading use the rest of the pool too.

Run with ``python -m benchmarks.few_labels``, optionally with names of questions or of data sets
(``--sets clip-art``). With ``--cache FOLDER`` no picture is computed twice. It needs
scikit-activeml.
"""

import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from benchmarks._common import add_questions, parser, print_machine, print_table
from benchmarks.backbones import cells, features, pictures

STEP, SIZES = 10, (10, 20, 50)
POOL, TEST = 2000, 1000  # at most; smaller sets are cut in the same ratio


def logistic():
    return LogisticRegression(max_iter=1000)


def unit(X):
    """Return centred features of length 1."""
    return make_pipeline(StandardScaler(with_std=False), Normalizer()).fit_transform(X)


def split(y, seed):
    """Return the rows of the pool and the test rows."""
    n = min(1.0, len(y) / (POOL + TEST))
    return train_test_split(
        np.arange(len(y)),
        train_size=int(n * POOL),
        test_size=int(n * TEST),
        stratify=y,
        random_state=seed,
    )


def strategies(n_classes, seed):
    """Return functions that choose the next rows of the pool, by name."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import ProbCover, RandomSampling, TypiClust, UncertaintySampling

    by_type = TypiClust(random_state=seed)
    margin = UncertaintySampling(method="margin_sampling", random_state=seed)
    head = SklearnClassifier(logistic(), classes=range(n_classes), random_state=seed)

    def first_types_then_margin(X, y, batch_size):
        if np.isnan(y).all():
            return by_type.query(unit(X), y, batch_size=batch_size)
        return margin.query(X, y, clf=head, batch_size=batch_size)

    def on_units(strategy):
        return lambda X, y, batch_size: strategy.query(unit(X), y, batch_size=batch_size)

    return {
        "random": on_units(RandomSampling(random_state=seed)),
        "TypiClust": on_units(by_type),
        "ProbCover": on_units(ProbCover(n_classes=int(n_classes), random_state=seed)),
        "TypiClust, then margin": first_types_then_margin,
    }


def accuracies(X, y, seed):
    """Return accuracies (n_strategies, n_sizes), and the seconds that each strategy chose for."""
    pool, test = split(y, seed)
    scores, seconds = [], []
    for choose in strategies(y.max() + 1, seed).values():
        known, took, row = np.full(len(pool), np.nan), 0.0, []
        for n in range(STEP, max(SIZES) + 1, STEP):
            start = time.perf_counter()
            rows = choose(X[pool], known, STEP)
            took += time.perf_counter() - start
            known[rows] = y[pool][rows]
            if n in SIZES:
                some = pool[~np.isnan(known)]
                row.append(logistic().fit(X[some], y[some]).score(X[test], y[test]))
        scores.append(row)
        seconds.append(took)
    return np.array(scores), seconds


def curves(options, name, X, y):
    """Accuracy by the number of labels, and the gain over random choice."""
    found, seconds = zip(*(accuracies(X, y, seed) for seed in range(options.seeds)), strict=True)
    found = np.array(found)
    rows = [
        [n, *cells([found[:, i, j] for i in range(found.shape[1])])] for j, n in enumerate(SIZES)
    ]
    rows.append([f"seconds to choose {max(SIZES)}", *map(float, np.mean(seconds, axis=0))])
    print_table([f"{name}, {options.seeds} seeds: labels", *strategies(2, 0)], rows)


def prototypes(options, name, X, y):
    """Accuracy of the nearest class mean with as many labels for each class."""
    rows = []
    for k in (1, 2, 5, 10):
        found = []
        for seed in range(options.seeds):
            pool, test = split(y, seed)
            rng = np.random.default_rng(seed)
            some = np.concatenate(
                [rng.permutation(pool[y[pool] == code])[:k] for code in np.unique(y)]
            )
            centred = make_pipeline(
                StandardScaler(with_std=False), Normalizer(), NearestCentroid()
            ).fit(X[some], y[some])
            by_pool = make_pipeline(StandardScaler(with_std=False), Normalizer()).fit(X[pool])
            nearest = NearestCentroid().fit(by_pool.transform(X[some]), y[some])
            found.append(
                [
                    logistic().fit(X[some], y[some]).score(X[test], y[test]),
                    NearestCentroid().fit(X[some], y[some]).score(X[test], y[test]),
                    centred.score(X[test], y[test]),
                    nearest.score(by_pool.transform(X[test]), y[test]),
                ]
            )
        rows.append([k, *cells(list(np.array(found).T))])
    header = ["logistic regression", "nearest mean", "centred, L2", "centred by the pool, L2"]
    print_table([f"{name}, {options.seeds} seeds: labels per class", *header], rows)


def unlabelled(options, name, X, y):
    """Accuracy of the head alone, and of methods that use unlabelled pictures."""
    rows = []
    for n in (20, 50, 200):
        found = []
        for seed in range(options.seeds):
            pool, test = split(y, seed)
            some, _ = train_test_split(pool, train_size=n, stratify=y[pool], random_state=seed)
            codes = np.where(np.isin(pool, some), y[pool], -1)
            units = unit(X)
            spread = LabelSpreading(kernel="knn", n_neighbors=10, max_iter=1000)
            found.append(
                [
                    logistic().fit(X[some], y[some]).score(X[test], y[test]),
                    SelfTrainingClassifier(logistic()).fit(X[pool], codes).score(X[test], y[test]),
                    spread.fit(units[pool], codes).score(units[test], y[test]),
                ]
            )
        rows.append([n, *cells(list(np.array(found).T))])
    header = ["logistic regression", "self-training", "label spreading"]
    print_table([f"{name}, {options.seeds} seeds: labels", *header], rows)


QUESTIONS = {f.__name__: f for f in (curves, prototypes, unlabelled)}


def main():
    options = parser(__doc__, pictures=3000)
    add_questions(options, QUESTIONS)
    sets = ["cifar10_subset", "clip-art"]
    options.add_argument("--sets", nargs="+", choices=[*sets, "digits", "ants_bees"], default=sets)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--image-size", type=int, default=96)
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    torch.set_num_threads(1)
    print_machine()
    warnings.simplefilter("ignore", ConvergenceWarning)
    # NearestCentroid computes a spread within classes, of which it makes no use here.
    warnings.filterwarnings("ignore", "self.within_class_std_dev_|invalid value encountered")
    for name in options.sets:
        X, y, reading = pictures(name, options)
        size = {"image_size": options.image_size}
        X = features(options, X, backbone="efficientnet_lite0", **size, **reading)
        for question in options.questions:
            QUESTIONS[question](options, name, X, y)


if __name__ == "__main__":
    main()

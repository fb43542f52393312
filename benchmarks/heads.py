"""Heads that begin at random: what is trained by default against a grid of rates.

Features are computed once. Rates and steps were chosen on digits, on the photos of
imagenet_samples and on every other picture of cifar10_subset; here they are judged on others.

Run with ``python -m benchmarks.heads``, or with names of questions: dense, focal, labels. With
names of sets (``--sets clip-art``) it judges less.
"""

import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.class_weight import compute_sample_weight

from benchmarks._common import ants_and_bees, judge, mobilenet, parser, print_machine, print_table
from sktransfer import PretrainedFeatureExtractor, load_clipart, load_image_folder
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.recipe import Recipe

# Others than the default's, which is 3e-3.
RATES = (3e-4, 1e-3, 1e-2)
HEADS = {
    "(16,)": {"hidden_layer_sizes": (16,)},
    "(128,)": {"hidden_layer_sizes": (128,)},
    "(1024,)": {"hidden_layer_sizes": (1024,)},
    "random linear": {"head_init": "random", "optimizer": "adamw"},
}


def data_sets(options):
    """Features and classes of each set that is judged on."""
    photos = ants_and_bees(options.data, "train"), ants_and_bees(options.data, "val")
    cifar = load_image_folder(options.data / "data/cifar10_subset/train", return_X_y=True)
    given = {
        "clip-art": (load_clipart(return_X_y=True), {"backbone": "efficientnet_lite0"}),
        "ants_bees": (
            [np.concatenate(both) for both in zip(*photos, strict=True)],
            mobilenet(options.data),
        ),
        "cifar10_subset": ([each[1::2] for each in cifar], mobilenet(options.data)),
    }
    for name in options.sets:
        (X, y), network = given[name]
        extractor = PretrainedFeatureExtractor(**network, cache=options.cache)
        yield name, extractor.fit_transform(X), np.unique(y, return_inverse=True)[1]


def splits(y, n_train, seeds):
    """Rows to train and to test on."""
    return StratifiedShuffleSplit(seeds, train_size=n_train, random_state=0).split(y, y)


def scores(X, y, train, test, seed=0, weights=None, **settings):
    """Probabilities of the test rows, by a head that trains as the classifier's does."""
    X, codes = torch.from_numpy(X), torch.from_numpy(y)
    if weights is not None:
        weights = torch.from_numpy(weights / weights.mean()).float()
    rows = Rows(X[train], codes[train], weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some rates of the grid are too low
        net = (
            Recipe(len(np.unique(y)), seed=seed, **settings)
            .train(TrainableStages(), rows, None)
            .net
        )
    return net.scores_of(Rows(X[test])).softmax(1).numpy()


def dense(options):
    """The default against the best of a grid of rates, in as many steps and in ten epochs."""
    for name, X, y in data_sets(options):
        rows = []
        for n in options.rows:
            if n > 0.8 * len(y):
                continue
            for title in options.heads:
                ways = {"default": {}, **{lr: {"lr": lr} for lr in RATES}}
                ways |= {(lr, 10): {"lr": lr, "max_epochs": 10} for lr in (3e-4, 3e-3)}
                right = {
                    way: np.array(
                        [
                            (
                                scores(X, y, *parts, seed, **HEADS[title], **how).argmax(1)
                                == y[parts[1]]
                            ).mean()
                            for seed, parts in enumerate(splits(y, n, options.seeds))
                        ]
                    )
                    for way, how in ways.items()
                }
                best = max(("default", *RATES), key=lambda way: right[way].mean())
                less = right[best] - right["default"]
                error = less.std(ddof=1) / len(less) ** 0.5
                rows.append(
                    [f"{n} rows, {title}"]
                    + [f"{right[way].mean():.3f}" for way in ways]
                    + [f"{less.mean():+.3f} ± {error:.3f}"]
                )
                judge(f"{name}, {rows[-1][0]}: best less default", less.mean(), at_most=0.01)
        titles = [f"{name}, {options.seeds} splits", "default", *(f"lr={lr:g}" for lr in RATES)]
        print_table([*titles, "3e-4, 10 epochs", "3e-3, 10 epochs", "best less default"], rows)


def focal(options):
    """Balanced accuracy and log loss of ways to treat unequal classes, on unbalanced clip-art."""
    ways = {
        "nothing": {},
        'class_weight="balanced"': {"weights": 1.0},
        "half-way weights": {"weights": 0.5},
        'sampling="oversample"': {"sampling": "oversample"},
        'loss="focal"': {"loss": {"loss": "focal"}},
        'loss="focal", lr=1e-2, max_epochs=30': {
            "loss": {"loss": "focal"},
            "lr": 1e-2,
            "max_epochs": 30,
        },
    }
    for name, X, y in data_sets(options):
        rows = []
        for title, how in ways.items():
            found = []
            for seed, (train, test) in enumerate(splits(y, 0.7, options.seeds)):
                train = unbalanced(y, train)
                settings = dict(how)
                if "weights" in settings:
                    power = settings["weights"]
                    settings["weights"] = compute_sample_weight("balanced", y[train]) ** power
                given = scores(X, y, train, test, seed, **settings)
                found.append(
                    (balanced_accuracy_score(y[test], given.argmax(1)), log_loss(y[test], given))
                )
            if not rows:
                plain = np.array(found)
            gain = (np.array(found) - plain)[:, 0]
            error = gain.std(ddof=1) / len(gain) ** 0.5
            means = [f"{each:.3f}" for each in np.mean(found, axis=0)]
            rows.append([title, *means, f"{gain.mean():+.3f} ± {error:.3f}"])
        heads = [f"{name}, {options.seeds} splits", "balanced accuracy", "log loss", "gain"]
        print_table(heads, rows)


def unbalanced(y, train):
    """Rows of every other class thinned to a fifth."""
    kept = [
        rows if code % 2 else rows[: max(2, len(rows) // 5)]
        for code in np.unique(y)
        for rows in [train[y[train] == code]]
    ]
    return np.concatenate(kept)


def labels(options):
    """Self-training where few of the rows have labels, against logistic regression on those."""
    for name, X, y in data_sets(options):
        rows = []
        for n in (20, 50, 100, 200):
            found = []
            for seed in range(options.seeds):
                train, test = train_test_split(
                    np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed
                )
                if n > 0.8 * len(train):
                    break
                known, _ = train_test_split(
                    np.arange(len(train)), train_size=n, stratify=y[train], random_state=seed
                )
                some = np.full(len(train), -1)
                some[known] = y[train][known]
                model = LogisticRegression(max_iter=1000)
                plain = model.fit(X[train][known], y[train][known])
                both = [plain.score(X[test], y[test])]
                for criterion in ({"threshold": 0.75}, {"criterion": "k_best", "k_best": 10}):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        again = SelfTrainingClassifier(
                            LogisticRegression(max_iter=1000), max_iter=None, **criterion
                        ).fit(X[train], some)
                    both.append(again.score(X[test], y[test]))
                found.append(both)
            if found:
                rows.append([n, *(f"{each:.3f}" for each in np.mean(found, axis=0))])
        print_table([f"{name}: labels", "on those", "threshold=0.75", "k_best=10"], rows)


QUESTIONS = {f.__name__: f for f in (dense, focal, labels)}


def main():
    options = parser(__doc__)
    options.add_argument("questions", nargs="*", choices=QUESTIONS, default=list(QUESTIONS))
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--rows", type=int, nargs="*", default=[80, 300, 1000])
    sets = ["clip-art", "ants_bees", "cifar10_subset"]
    options.add_argument("--sets", nargs="*", choices=sets, default=sets)
    options.add_argument("--heads", nargs="*", choices=HEADS, default=list(HEADS))
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    print_machine()
    for question in options.questions:
        QUESTIONS[question](options)


if __name__ == "__main__":
    main()

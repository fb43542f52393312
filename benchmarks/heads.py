"""Randomly initialised heads: the default learning rate compared with a grid of rates.

Features are computed once, and heads are trained on them, in seconds each. The defaults for rates
and steps were chosen on digits, the photos of imagenet_samples and every other picture of
cifar10_subset. Here they are tested on other data.

Run with ``python -m benchmarks.heads``, optionally with names of questions (dense, focal, labels)
or of data sets (``--sets clip-art``).
"""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.class_weight import compute_sample_weight

from benchmarks._common import (
    add_questions,
    head_settings,
    judge,
    mobilenet,
    parser,
    print_machine,
    print_table,
)
from sktransfer import PretrainedFeatureExtractor, load_clipart, load_image_folder
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.data import TrainingData
from sktransfer.training.train import train as train_net

# With the default number of steps. The default rate is 3e-3.
WAYS = {"default": {}, **{f"lr={lr:g}": {"lr": lr} for lr in (3e-4, 1e-3, 1e-2)}}
# A fixed number of epochs, which is fewer steps if there are few rows. The first one was the
# default once; the others show when a head warns of short training.
SHORT = {f"lr={lr:g}, 10 epochs": {"lr": lr, "max_epochs": 10} for lr in (3e-4, 1e-3, 3e-3, 1e-2)}
HEADS = {
    "(16,)": {"hidden_layer_sizes": (16,)},
    "(128,)": {"hidden_layer_sizes": (128,)},
    "(256, 64)": {"hidden_layer_sizes": (256, 64)},
    "(1024,)": {"hidden_layer_sizes": (1024,)},
    "random linear": {"head_init": "random", "optimizer": "adamw"},
}


def whole(folder, *parts):
    """Return paths and labels of all parts of a data set."""
    given = [load_image_folder(folder / part, return_X_y=True) for part in parts]
    return [np.concatenate(each) for each in zip(*given, strict=True)]


def data_sets(options):
    """Yield name, features and encoded classes of each data set to test on."""
    data = options.data / "data"
    cifar = whole(data / "cifar10_subset", "train", "test")
    given = {
        "clip-art": (load_clipart(return_X_y=True), {"backbone": "efficientnet_lite0"}),
        "ants_bees": (whole(data / "ants_bees", "train", "val"), mobilenet(options.data)),
        # The other half was used to choose the defaults, so it can't be tested on.
        "cifar10_subset": ([each[1::2] for each in cifar], mobilenet(options.data)),
    }
    for name in options.sets:
        (X, y), network = given[name]
        extractor = PretrainedFeatureExtractor(**network, cache=options.cache)
        yield name, extractor.fit_transform(X), np.unique(y, return_inverse=True)[1]


def splits(y, n_train, seeds):
    """Return splits into training and test rows."""
    return StratifiedShuffleSplit(seeds, train_size=n_train, random_state=0).split(y, y)


def trained(X, y, train, test, seed=0, weights=None, **settings):
    """Return a head's probabilities for the test rows, and if it warned of short training."""
    X, codes = torch.from_numpy(X), torch.from_numpy(y)
    if weights is not None:
        weights = torch.from_numpy(weights / weights.mean()).float()
    rows = Rows(X[train], codes[train], weights)
    settings = head_settings(len(np.unique(y)), seed, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = train_net(settings, TrainingData(TrainableStages(), rows)).net
    warned = any(issubclass(each.category, ConvergenceWarning) for each in caught)
    return net.scores_of(Rows(X[test])).softmax(1).numpy(), warned


def accuracies(X, y, n, seeds, head):
    """Return accuracies, and if heads warned, as arrays of shape (n_ways, n_splits)."""
    found = np.array(
        [
            [
                (np.mean(given.argmax(1) == y[test]), warned)
                for seed, (train, test) in enumerate(splits(y, n, seeds))
                for given, warned in [trained(X, y, train, test, seed, **head, **how)]
            ]
            for how in (WAYS | SHORT).values()
        ]
    )
    return found[..., 0], found[..., 1].astype(bool)


def dense(options):
    """Compare the default with the best of a grid of rates, and count the warnings."""
    # Rows: heads that were silent, and that warned. Columns: how far behind the best they were.
    counts = np.zeros((2, 3), int)
    for name, X, y in data_sets(options):
        rows = []
        for title in options.heads:
            for n in sorted({min(n, int(0.8 * len(y))) for n in options.rows}):
                right, warned = accuracies(X, y, n, options.seeds, HEADS[title])
                # Paired differences: both heads have the same splits, which differ in difficulty.
                best = right[: len(WAYS)].mean(1).argmax()
                less = right[best] - right[0]
                error = less.std(ddof=1) / len(less) ** 0.5
                means = [f"{each:.3f}" for each in right.mean(1)[: len(WAYS) + 1]]
                rows.append([title, n, *means, f"{less.mean():.3f} ± {error:.3f}"])
                question = f"{name}, {title}, {n} rows: best less default ± {error:.3f}"
                judge(question, less.mean(), at_most=0.01)
                behind = np.digitize(right[right.mean(1).argmax()] - right, [0.01, 0.05])
                np.add.at(counts, (warned.astype(int), behind), 1)
        shown = [*WAYS, next(iter(SHORT))]
        print_table([f"{name}, {options.seeds} splits", "rows", *shown, "best - default"], rows)
    columns = ["less accurate than the best by", "up to 0.01", "0.01 to 0.05", "more"]
    print_table(columns, [["silent", *counts[0]], ["warned", *counts[1]]])


def focal(options):
    """Compare ways to treat unbalanced classes by balanced accuracy and log loss."""
    ways = {
        "nothing": {},
        'class_weight="balanced"': {"weights": 1.0},
        "half-way weights": {"weights": 0.5},
        'sampling="oversample"': {"sampling": "oversample"},
        'loss="focal"': {"loss": "focal"},
        'loss="focal", lr=1e-2, max_epochs=30': {
            "loss": "focal",
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
                given, _ = trained(X, y, train, test, seed, **settings)
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
    """Keep a fifth of the training rows of every other class."""
    kept = [
        rows if code % 2 else rows[: max(2, len(rows) // 5)]
        for code in np.unique(y)
        for rows in [train[y[train] == code]]
    ]
    return np.concatenate(kept)


def labels(options):
    """Compare self-training on few labels with logistic regression on the labelled rows."""
    ways = {
        "threshold=0.75": {},
        'criterion="k_best"': {"criterion": "k_best"},
        "the same, max_iter=None": {"criterion": "k_best", "max_iter": None},
    }
    for name, X, y in data_sets(options):
        rows = []
        for n in (20, 50, 200):
            found = np.array(
                [self_trained(X, y, n, seed, list(ways.values())) for seed in range(options.seeds)]
            )
            gains = found[:, 1:] - found[:, :1]
            errors = gains.std(0, ddof=1) / len(gains) ** 0.5
            cells = [f"{g:+.3f} ± {e:.3f}" for g, e in zip(gains.mean(0), errors, strict=True)]
            rows.append([n, f"{found[:, 0].mean():.3f}", *cells])
        print_table([f"{name}, {options.seeds} splits: labels", "on those", *ways], rows)


def self_trained(X, y, n, seed, ways):
    """Return the accuracy with `n` labels only, and with each way to use the other rows."""
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
    known, _ = train_test_split(train, train_size=n, stratify=y[train], random_state=seed)
    some = np.where(np.isin(train, known), y[train], -1)
    models = [SelfTrainingClassifier(LogisticRegression(max_iter=1000), **how) for how in ways]
    return [
        LogisticRegression(max_iter=1000).fit(X[known], y[known]).score(X[test], y[test]),
        *(model.fit(X[train], some).score(X[test], y[test]) for model in models),
    ]


QUESTIONS = {f.__name__: f for f in (dense, focal, labels)}


def main():
    options = parser(__doc__)
    add_questions(options, QUESTIONS)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--rows", type=int, nargs="*", default=[50, 300, 1600])
    sets = ["clip-art", "ants_bees", "cifar10_subset"]
    options.add_argument("--sets", nargs="*", choices=sets, default=sets)
    options.add_argument("--heads", nargs="*", choices=HEADS, default=list(HEADS))
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    torch.set_num_threads(1)  # more threads are not faster for such small matrices
    print_machine()
    for question in options.questions:
        QUESTIONS[question](options)


if __name__ == "__main__":
    main()

"""partial_fit on pieces of the data, compared with fit on all rows and with other learners.

Features are computed once, from pictures of 96 pixels. The parameters that decide how much a piece
changes the head were chosen on digits, the photos of imagenet_samples and every other picture of
cifar10_subset. Here they are tested on other data.

Run with ``python -m benchmarks.pieces``, optionally with names of questions (sizes, orders,
stream) or of data sets (``--sets clip-art``). ``--shuffles 1`` is faster.
"""

import time
import warnings
from copy import deepcopy

import numpy as np
import torch
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from benchmarks._common import (
    add_questions,
    ants_and_bees,
    head_settings,
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


class Learner:
    """The classifier's head, which learns rows in pieces or all at once."""

    def __init__(self, n_classes, **parameters):
        self.n_classes, self.parameters, self.trained = n_classes, parameters, None

    def fit(self, X, y, weights):
        rows = self._rows(X, y, weights)
        return self._train(self._settings(), rows)

    def learn(self, X, y, weights):
        rows = self._rows(X, y, weights)
        known = None if self.trained is None else self.trained.optimizer_state
        return self._train(self._settings().for_a_piece(known, weights.mean()), rows)

    def _rows(self, X, y, weights):
        return Rows.of(Rows(torch.from_numpy(X)).views, y, weights)

    def _settings(self):
        return head_settings(self.n_classes, **self.parameters)

    def _train(self, settings, rows):
        head = None if self.trained is None else deepcopy(self.trained.net.module_.head)
        self.trained = train_net(settings, TrainingData(TrainableStages(), rows, earlier_head=head))
        return self

    def shares(self, X):
        return self.trained.net.scores_of(Rows(torch.from_numpy(X))).softmax(1).numpy()


class Linear:
    """SGDClassifier on standardised features.

    The mean and scale are those of all rows, which a real stream would not know in advance.
    """

    def __init__(self, n_classes, X, alpha):
        self.scaler = StandardScaler().fit(X)
        self.classes = np.arange(n_classes)
        self.linear = SGDClassifier(loss="log_loss", alpha=alpha, random_state=0)

    def learn(self, X, y, weights):
        self.linear.partial_fit(self.scaler.transform(X), y, self.classes, weights)
        return self

    def shares(self, X):
        return self.linear.predict_proba(self.scaler.transform(X))


def learners(n_classes, X):
    """Return the learners to compare, by name."""
    return {
        "partial_fit": Learner(n_classes),
        "AdamW": Learner(n_classes, optimizer="adamw"),
        "SGDClassifier, alpha 1e-4": Linear(n_classes, X, 1e-4),
        "SGDClassifier, alpha 0.1": Linear(n_classes, X, 0.1),
    }


def data_sets(options):
    """Yield name, features and encoded classes of each data set to test on."""
    photos = ants_and_bees(options.data, "train"), ants_and_bees(options.data, "val")
    cifar = load_image_folder(options.data / "data/cifar10_subset/train", return_X_y=True)
    given = {
        "clip-art": (load_clipart(return_X_y=True), {"backbone": "efficientnet_lite0"}),
        "ants_bees": (
            [np.concatenate(both) for both in zip(*photos, strict=True)],
            mobilenet(options.data),
        ),
        # The other half was used to choose the defaults, so it can't be tested on.
        "cifar10_subset": ([each[1::2] for each in cifar], mobilenet(options.data)),
    }
    for name in options.sets:
        (X, y), network = given[name]
        extractor = PretrainedFeatureExtractor(**network, image_size=96, cache=options.cache)
        yield name, extractor.fit_transform(X), np.unique(y, return_inverse=True)[1]


def shuffles(y, options):
    """Return splits into shuffled training rows and test rows."""
    kept = {"train_size": 300, "test_size": min(len(y) - 300, 600), "random_state": 0}
    return list(StratifiedShuffleSplit(options.shuffles, **kept).split(y, y))


def in_pieces(learner, X, y, size, weights=None, first=None):
    """Train a learner on pieces of the rows; the first piece may have another size."""
    weights = np.ones(len(y)) if weights is None else weights
    first = size if first is None else first
    for part in np.split(np.arange(len(y)), range(first, len(y), size)):
        learner.learn(X[part], y[part], weights[part])
    return learner


def right_and_loss(learner, X, y, weights=None):
    """Return accuracy and log loss on test rows."""
    # SGDClassifier may predict a probability of exactly 0, for which the loss is infinite.
    shares = np.clip(learner.shares(X), 1e-7, 1)
    shares /= shares.sum(1, keepdims=True)
    right = np.average(shares.argmax(1) == y, weights=weights)
    labels = np.arange(shares.shape[1])
    return np.array([right, log_loss(y, shares, labels=labels, sample_weight=weights)])


def plus_minus(pairs):
    """Format mean and standard error of differences in accuracy (points) and in log loss."""
    pairs = np.array(pairs)
    error = pairs.std(0, ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else np.zeros(2)
    (right, loss), (right_error, loss_error) = pairs.mean(0), error
    return f"{100 * right:+.1f} ± {100 * right_error:.1f}, {loss:+.3f} ± {loss_error:.3f}"


def print_differences(title, column, found, whole):
    """Print a table with one row per case and one column per learner."""
    right, loss = np.mean(whole, 0)
    print(f"{title}: all rows at once {100 * right:.1f} % right, log loss {loss:.3f}; against that")
    ways = list(next(iter(found.values())))
    rows = [[case, *(plus_minus(each[way]) for way in ways)] for case, each in found.items()]
    print_table([column, *ways], rows)


def sizes(options):
    """Compare learners on shuffled pieces of several sizes."""
    for name, X, y in data_sets(options):
        k, whole = y.max() + 1, []
        found = {size: {} for size in options.sizes}
        for train, test in shuffles(y, options):
            ones = np.ones(len(train))
            all_rows = Learner(k).fit(X[train], y[train], ones)
            whole.append(right_and_loss(all_rows, X[test], y[test]))
            for size, by_way in found.items():
                for way, learner in learners(k, X[train]).items():
                    in_pieces(learner, X[train], y[train], size)
                    score = right_and_loss(learner, X[test], y[test])
                    by_way.setdefault(way, []).append(score - whole[-1])
        print_differences(f"{name}, 300 shuffled rows", "rows per piece", found, whole)


def orders(options):
    """Compare learners on pieces of 32 rows: repeated, weighted, or in an unfavourable order."""
    for name, X, y in data_sets(options):
        k, whole, found = y.max() + 1, [], {}
        for seed, (train, test) in enumerate(shuffles(y, options)):
            few = train[y[train] < k / 2][:32]
            late = np.concatenate([few, train[~np.isin(train, few)]])
            again = [np.random.default_rng(seed + turn).permutation(train) for turn in range(2)]
            cases = {
                "one pass": train,
                "three passes": np.concatenate([train, *again]),
                "first piece lacks half of the classes": late,
                "sorted by class": train[np.argsort(y[train], kind="stable")],
                "every other class weighs 5": train,
            }
            for case, order in cases.items():
                weigh = np.where(np.arange(k) % 2, 1.0, 5.0) if "weighs" in case else np.ones(k)
                of_test = weigh[y[test]]
                all_rows = Learner(k).fit(X[train], y[train], weigh[y[train]])
                best = right_and_loss(all_rows, X[test], y[test], of_test)
                whole += [best] if case == "one pass" else []
                for way, learner in learners(k, X[train]).items():
                    in_pieces(learner, X[order], y[order], 32, weigh[y[order]])
                    score = right_and_loss(learner, X[test], y[test], of_test)
                    found.setdefault(case, {}).setdefault(way, []).append(score - best)
        print_differences(f"{name}, 300 rows in pieces of 32", "order", found, whole)


def stream(options):
    """Compare learners on 200 pieces of 8 rows, in which each row occurs about five times."""
    for name, X, y in data_sets(options):
        train, test = shuffles(y, options)[0]
        order = np.random.default_rng(0).choice(train, 1600)
        k, rows = y.max() + 1, []
        for way, learner in learners(k, X[train]).items():
            seconds, scores = 0.0, []
            for part in np.split(order, 4):
                # CPU time, because elapsed time depends on the other processes of the machine.
                begun = time.process_time()
                in_pieces(learner, X[part], y[part], 8)
                seconds += (time.process_time() - begun) / 200
                scores.append(right_and_loss(learner, X[test], y[test]))
            rows.append([way, *(f"{100 * r:.1f}, {loss:.3f}" for r, loss in scores), seconds])
        print(f"{name}: % right and log loss after so many pieces")
        print_table(["way", "50", "100", "150", "200", "CPU seconds per piece"], rows)


QUESTIONS = {f.__name__: f for f in (sizes, orders, stream)}


def main():
    options = parser(__doc__)
    add_questions(options, QUESTIONS)
    sets = ["clip-art", "ants_bees", "cifar10_subset"]
    options.add_argument("--sets", nargs="*", choices=sets, default=sets)
    options.add_argument("--sizes", nargs="*", type=int, default=[1, 8, 32, 100])
    options.add_argument("--shuffles", type=int, default=5)
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    torch.set_num_threads(1)  # more threads are not faster for so few rows
    print_machine()
    for question in options.questions:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that are missing in a piece
            QUESTIONS[question](options)


if __name__ == "__main__":
    main()

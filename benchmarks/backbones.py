"""Backbones of the extra ``offline``, two of them together, and the size of pictures.

Features of the frozen backbone are computed once. The default head of the classifier is trained on
them, on the same ten splits for everything that is compared, so that differences are paired.

Run with ``python -m benchmarks.backbones``, optionally with names of questions (offline, pairs,
sizes) or of data sets (``--sets clip-art``). With ``--cache FOLDER`` no picture is computed twice.
The speed of the networks is printed by ``python -m benchmarks.engines efficientnet_lite0 ...``.
"""

from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from benchmarks._common import (
    add_questions,
    alternate,
    ants_and_bees,
    mobilenet,
    parser,
    print_machine,
    print_table,
)
from benchmarks.heads import splits, trained, whole
from sktransfer import PretrainedFeatureExtractor, load_clipart

OFFLINE = [f"efficientnet_lite{i}" for i in range(3)]
SIZES = (224, 160, 288, 320)  # the first is the one that the others are compared with
ROWS = (50, 200)
PARTS = {"ants_bees": ("train", "val"), "cifar10_subset": ("train", "test")}
# Each set with the part of its rows that train.
SETS = {"clip-art": 0.7, "ants_bees": 0.7, "cifar10_subset": 0.5, "digits": 0.5}


def pictures(name, options):
    """Return pictures and encoded classes of a data set, and parameters to read them."""
    reading = {}
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X, reading = X / 16, {"image_shape": (8, 8)}
    elif name == "clip-art":
        X, y = load_clipart(return_X_y=True)
    else:
        X, y = whole(options.data / "data" / name, *PARTS[name])
    some = np.random.default_rng(0).permutation(len(y))[: options.pictures]
    return X[some], np.unique(y[some], return_inverse=True)[1], reading


def features(options, X, **parameters):
    return PretrainedFeatureExtractor(**parameters, cache=options.cache).fit_transform(X)


def head(X, y, train, test):
    """Return the probabilities that the classifier's default head gives to the test rows."""
    return trained(X, y, train, test)[0]


def logistic(X, y, train, test):
    """Return the probabilities of scikit-learn's logistic regression."""
    return LogisticRegression(max_iter=1000).fit(X[train], y[train]).predict_proba(X[test])


def vote(first, second, y, train, test):
    """Return the probabilities of a soft VotingClassifier of two backbones, but for the half."""
    return head(first, y, train, test) + head(second, y, train, test)


def accuracies(y, n_train, seeds, probabilities):
    """Return one accuracy per split, of ``probabilities(train, test)``."""
    parts = splits(y, n_train, seeds)
    return np.array([np.mean(probabilities(*rows).argmax(1) == y[rows[1]]) for rows in parts])


def by_set(options, networks):
    """Yield the accuracies of the default head on each network, for each data set."""
    for name in options.sets:
        X, y, reading = pictures(name, options)
        yield [
            accuracies(
                y,
                SETS[name],
                options.seeds,
                partial(head, features(options, X, **network, **reading), y),
            )
            for network in networks
        ]


def gain(scores, base):
    """Format the paired difference from `base` with its standard error, in points."""
    more = 100 * (scores - base)
    return f"{more.mean():+.1f} ± {more.std(ddof=1) / len(more) ** 0.5:.1f}"


def cells(column):
    """Format means, each but the first with its gain over the first."""
    first, *others = column
    return [
        f"{first.mean():.3f}",
        *(f"{scores.mean():.3f} ({gain(scores, first)})" for scores in others),
    ]


def offline(options):
    """Compare the backbones whose weights come with the extra ``offline``."""
    paths = sorted(str(p) for p in (options.data / "data" / "imagenet_samples").iterdir())
    logits = [features(options, paths, backbone=name, stage="logits") for name in OFFLINE]
    # Sorted, the i-th file is of class 5 i.
    right = [(each.argmax(1) == 5 * np.arange(len(paths))).astype(float) for each in logits]
    networks = [{"backbone": name} for name in OFFLINE]
    columns = [OFFLINE, cells(right), *map(cells, by_set(options, networks))]
    print_table(["network", "imagenet_samples", *options.sets], zip(*columns, strict=True))


def pairs(options):
    """Compare two backbones side by side with the better one of them."""
    table = []
    for name in options.sets:
        X, y, reading = pictures(name, options)
        small, large = (features(options, X, backbone=OFFLINE[i], **reading) for i in (0, 2))
        both = np.hstack([small, large])  # as a FeatureUnion
        ways = {
            "lite0": partial(head, small, y),
            "lite2": partial(head, large, y),
            "lite2, logistic": partial(logistic, large, y),
            "union, logistic": partial(logistic, both, y),
            "vote": partial(vote, small, large, y),
        }
        for n in ROWS:
            found = {way: accuracies(y, n, options.seeds, how) for way, how in ways.items()}
            means = [f"{each.mean():.3f}" for each in found.values()]
            # Over the same head on the better backbone alone.
            of_union = gain(found["union, logistic"], found["lite2, logistic"])
            table.append([name, n, *means, of_union, gain(found["vote"], found["lite2"])])
    print_table(["data", "rows", *ways, "gain of the union", "gain of the vote"], table)


def sizes(options):
    """Compare sizes of pictures for two backbones, by accuracy and by speed."""
    photos = ants_and_bees(options.data, "train")[0][:96]
    for network in ({"backbone": OFFLINE[0]}, mobilenet(options.data)):
        networks = [{**network, "image_size": size} for size in SIZES]
        extractors = [PretrainedFeatureExtractor(**each, engine="openvino") for each in networks]
        runs = {
            size: partial(each.fit_transform, photos)
            for size, each in zip(SIZES, extractors, strict=True)
        }
        columns = list(map(cells, by_set(options, networks)))
        seconds = alternate(runs, options.repeats)
        speeds = [len(photos) / seconds[size] for size in SIZES]
        print_table(
            [network["backbone"], "photos/s", *options.sets],
            sorted(zip(SIZES, speeds, *columns, strict=True)),
        )


QUESTIONS = {f.__name__: f for f in (offline, pairs, sizes)}


def main():
    options = parser(__doc__, pictures=1000)
    add_questions(options, QUESTIONS)
    options.add_argument("--seeds", type=int, default=10, help="splits")
    options.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    torch.set_num_threads(1)  # more threads are not faster for the heads
    print_machine()
    with TemporaryDirectory() as folder:
        options.cache = options.cache or folder
        for question in options.questions:
            QUESTIONS[question](options)


if __name__ == "__main__":
    main()

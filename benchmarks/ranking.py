"""Which figure tells best which backbone is best on a set of pictures: `rank_backbones` tested.

Candidates are all that can be had without internet: the networks of the extra ``offline``,
MobileNetV2 from a file, two stages within each of them, and random weights as the floor. Some
pictures of each set are ranked by; all others tell how accurate the default head on each candidate
really is, trained on the same pictures. Printed are Kendall's tau between a figure and the test
accuracy, and the regret: what is lost, in points, by taking the best candidate by that figure.

Run with ``python -m benchmarks.ranking``, optionally with names of data sets. With ``--cache
FOLDER`` no picture is computed twice.
"""

from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from benchmarks._common import mobilenet, parser, print_machine, print_table
from benchmarks.backbones import OFFLINE, SETS, head, pictures
from sktransfer import PretrainedFeatureExtractor, rank_backbones

STAGES = ("level4", "level3")
FIGURES = ("cross-validation", "nearest neighbours", "LogME", "parameters")
MOST_TEST_ROWS = 500


def candidates(options, reading):
    """Return the extractors to rank, by a short name."""
    networks = {name.removeprefix("efficientnet_"): {"backbone": name} for name in OFFLINE}
    networks["mobilenet_v2"] = mobilenet(options.data)
    given = dict(networks)
    for name, network in networks.items():
        given |= {f"{name}, {stage}": {**network, "stage": stage} for stage in STAGES}
    for name in ("lite0", "mobilenet_v2"):
        given[f"{name}, random"] = {**networks[name], "weights": None}
    common = {"image_size": options.image_size, "cache": options.cache, **reading}
    return {name: PretrainedFeatureExtractor(**each, **common) for name, each in given.items()}


def neighbours(features, y, seed):
    """Return the cross-validated accuracy of the five nearest neighbours by their angle."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = KNeighborsClassifier(5, metric="cosine")
    return cross_val_score(model, features, y, cv=folds).mean()


def measure(extractors, features, X, y, n_rows, seed):
    """Return figures and test accuracies (n_candidates,) of one split, and which ones are tied."""
    n_test = min(MOST_TEST_ROWS, len(y) - n_rows)
    parts = StratifiedShuffleSplit(1, train_size=n_rows, test_size=n_test, random_state=seed)
    train, test = next(parts.split(y, y))
    ranking = rank_backbones(X[train], y[train], list(extractors.values()), max_rows=None)
    ranked = [each.get_params() for each in ranking.extractors]
    order = [ranked.index(each.get_params()) for each in extractors.values()]
    figures = {
        "cross-validation": ranking.accuracy[order],
        "nearest neighbours": np.array([neighbours(f[train], y[train], seed) for f in features]),
        "LogME": ranking.logme[order],
        "parameters": ranking.parameters[order].astype(float),
    }
    # As many pictures to train on as were ranked by: the use that a ranking is made for.
    right = [np.mean(head(f, y, train, test).argmax(1) == y[test]) for f in features]
    return figures, np.array(right), ranking.tied_with_best[order]


def judged(figures, right, among):
    """Return tau and regret of each figure, among some candidates."""
    right, facts = right[among], {}
    for name in FIGURES:
        values = figures[name][among]
        facts[name, "tau"] = kendalltau(values, right).statistic
        facts[name, "regret"] = 100 * (right.max() - right[values.argmax()])
    return facts


def of_ties(right, tied):
    """Return how many candidates are tied with the best, and the regret of two of them."""
    of_tied = right[tied]
    return {
        "number": tied.sum(),
        "regret of the best": 100 * (right.max() - of_tied.max()),
        "regret of the worst": 100 * (right.max() - of_tied.min()),
    }


def with_error(values):
    """Format a mean over splits with its standard error."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}"


def report(names, found):
    """Print the tables of all sets; `found` has figures, accuracies and ties by set and split."""
    rows = []
    for i, name in enumerate(names):
        cells = [name]
        for splits in found.values():
            told = np.mean([figures["cross-validation"][i] for figures, *_ in splits])
            cells.append(f"{told:.3f} / {np.mean([right[i] for _, right, _ in splits]):.3f}")
        rows.append(cells)
    print("Accuracy by the ranking / on test pictures, means of the splits.\n")
    print_table(["candidate", *found], rows)
    some = {
        "all candidates": np.arange(len(names)),
        "without random weights": np.array([i for i, n in enumerate(names) if "random" not in n]),
        "whole networks": np.array([i for i, n in enumerate(names) if "," not in n]),
    }
    for title, among in some.items():
        facts = {
            name: [judged(figures, right, among) for figures, right, _ in splits]
            for name, splits in found.items()
        }
        for what in ("tau", "regret"):
            print(f"{what.capitalize()}, {title} ({len(among)}).\n")
            print_facts(facts, {figure: (figure, what) for figure in FIGURES})
    print("Those that are tied with the best, all candidates.\n")
    ties = {name: [of_ties(right, tied) for _, right, tied in of] for name, of in found.items()}
    print_facts(ties, {name: name for name in of_ties(*next(iter(found.values()))[0][1:])})


def print_facts(facts, columns):
    """Print means over splits, with one row for each set; `columns` has the keys of facts."""
    cells = {
        name: [np.array([each[key] for each in splits]) for key in columns.values()]
        for name, splits in facts.items()
    }
    rows = [[name, *map(with_error, values)] for name, values in cells.items()]
    means = np.mean([[each.mean() for each in values] for values in cells.values()], axis=0)
    print_table(["data", *columns], [*rows, ["mean", *(f"{mean:.2f}" for mean in means)]])


def main():
    options = parser(__doc__, pictures=700)
    options.add_argument("sets", nargs="*", default=[*SETS], help="names of data sets")
    options.add_argument("--rows", type=int, default=150, help="pictures to rank by")
    options.add_argument("--splits", type=int, nargs="+", default=list(range(10)), help="seeds")
    options.add_argument("--image-size", type=int, help="sides of pictures; those of the weights")
    options.add_argument("--cache", default=None)
    options = options.parse_args()
    torch.set_num_threads(1)  # more threads are not faster for the heads
    print_machine()
    found, names = {}, []
    with TemporaryDirectory() as folder:
        options.cache = options.cache or folder
        for name in options.sets:
            X, y, reading = pictures(name, options)
            extractors = candidates(options, reading)
            names = list(extractors)
            features = [each.fit_transform(X) for each in extractors.values()]
            split = partial(measure, extractors, features, X, y, options.rows)
            found[name] = [split(seed) for seed in options.splits]
            print(f"{name}: {len(y)} pictures, {options.rows} of them to rank by", flush=True)
    print()
    report(names, found)


if __name__ == "__main__":
    main()

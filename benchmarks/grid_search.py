"""GridSearchCV over 12 candidates in 3 folds: sktransfer with a cache, and skorch.

One search keeps the backbone frozen; in the other, 4 of the 12 candidates also train its last
stage. sktransfer's cold runs start with an empty cache in a new folder. For skorch, plain and
tuned, one epoch on a training fold and one prediction of the test fold are measured, and the
time of the search is computed from them: 36 x (10 epochs + 1 prediction). Neither side refits the
best candidate.

Run with ``python -m benchmarks.grid_search``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from sklearn.model_selection import GridSearchCV, StratifiedKFold

from benchmarks._common import (
    alternate,
    clock,
    judge,
    mobilenet,
    parser,
    print_machine,
    print_table,
    write_photos,
)
from benchmarks._peers import Photos, best_skorch, skorch_net
from sktransfer import PretrainedImageClassifier

FOLDS, EPOCHS, CANDIDATES = 3, 10, 12
DECAYS = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
BALANCES = [None, "balanced"]
# The number of candidates that train the last stage, and the grid.
SEARCHES = {
    "all frozen": (0, {"weight_decay": DECAYS, "class_weight": BALANCES}),
    "4 of 12 unfrozen": (
        4,
        [
            {"weight_decay": DECAYS[:4], "class_weight": BALANCES},
            {
                "unfreeze_depth": [1],
                "lr": [1e-4, 3e-4],
                "class_weight": BALANCES,
            },
        ],
    ),
}


def search(network, grid, cache, paths, labels):
    classifier = PretrainedImageClassifier(
        **network, max_epochs=EPOCHS, engine="auto", cache=cache, device="cpu", random_state=0
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    found = GridSearchCV(classifier, grid, cv=folds, refit=False).fit(paths, labels)
    assert len(found.cv_results_["params"]) == CANDIDATES
    return found


def plain_sides(network, paths, labels):
    """Return an epoch and a prediction of skorch on the first fold, for each depth and variant."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    train, test = next(folds.split(paths, labels))
    learn, check = Photos(paths[train], labels[train]), Photos(paths[test], labels[test])
    sides = {}
    for depth in (0, 1):
        for tuned in (False, True):
            best = best_skorch(network["weights"], depth, tuned, learn.few(), 2)
            net = skorch_net(network["weights"], depth, 2, tuned, best)
            sides[depth, tuned, "epoch"] = lambda net=net: net.partial_fit(learn)
            sides[depth, tuned, "predict"] = lambda net=net: net.predict(check)
    return sides


def skorch_search(seconds, unfrozen, tuned):
    """Return the seconds of a whole search with skorch, computed from its parts."""

    def fit(depth):
        return EPOCHS * seconds[depth, tuned, "epoch"] + seconds[depth, tuned, "predict"]

    return FOLDS * ((CANDIDATES - unfrozen) * fit(0) + unfrozen * fit(1))


def main():
    options = parser(__doc__, pictures=244).parse_args()
    network = mobilenet(options.data)
    with TemporaryDirectory() as folder:
        photos, caches = Path(folder, "photos"), Path(folder, "caches")
        caches.mkdir()
        paths, labels = write_photos(options.data, options.pictures, photos)
        sides = plain_sides(network, paths, labels)
        # The uncounted first round of `alternate` fills these caches.
        warm = {title: mkdtemp(dir=caches) for title in SEARCHES}
        for title, (_, grid) in SEARCHES.items():
            sides[title, "cold"] = lambda g=grid: search(
                network, g, mkdtemp(dir=caches), paths, labels
            )
            sides[title, "warm"] = lambda g=grid, c=warm[title]: search(
                network, g, c, paths, labels
            )
        print_machine()
        # The first run in a process also converts the network for OpenVINO; later ones reuse it.
        first = clock(sides["all frozen", "cold"])
        seconds = alternate(sides, options.repeats)

    more = max(0.0, first - seconds["all frozen", "cold"])
    print(f"The first search of the process took {more:.1f} s more: conversion, if any.\n")
    rows, ratios = [], {}
    for title, (unfrozen, _) in SEARCHES.items():
        cold = seconds[title, "cold"]
        peers = {tuned: skorch_search(seconds, unfrozen, tuned) for tuned in (False, True)}
        ratios[title] = peers[False] / cold
        rows += [
            [title, f"sktransfer, {state} cache", seconds[title, state]]
            for state in ("cold", "warm")
        ]
        rows += [
            [title, f"{'tuned' if tuned else 'plain'} skorch (scaled)", value]
            for tuned, value in peers.items()
        ]
    print_table(
        [
            f"12 candidates x 3 folds, {len(paths)} JPEG photos",
            "side",
            "seconds",
            "time against cold",
        ],
        ([title, side, value, value / seconds[title, "cold"]] for title, side, value in rows),
    )
    judge("all frozen, cold cache, against plain skorch", ratios["all frozen"], at_least=100)


if __name__ == "__main__":
    main()

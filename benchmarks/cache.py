"""Cost and gain of the activation cache: no cache, a cold cache and a warm cache.

A cold run writes into a new folder, and a warm run reads from the folder of an earlier one. The
extractor is fitted before, because its `fit` only checks the input.

Run with ``python -m benchmarks.cache``.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

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
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, cache_info


def extractor(network, cache, paths):
    estimator = PretrainedFeatureExtractor(**network, engine="auto", cache=cache, device="cpu")
    return estimator.fit(paths)


def fit(network, cache, paths, labels):
    return PretrainedImageClassifier(
        **network,
        unfreeze_depth=1,
        engine="auto",
        cache=cache,
        device="cpu",
        random_state=0,
    ).fit(paths, labels)


def first_transform(network, cache, paths):
    """Return the seconds of the first `transform` in a process, without imports and `fit`."""
    fitted = extractor(network, cache, paths)
    return clock(lambda: fitted.transform(paths))


def in_new_process(*arguments):
    # Spawned, because a forked process would inherit the networks that this one has in memory.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(first_transform, *arguments).result()


def sides_of(network, folder, paths, labels, repeats):
    """Return the runs to measure, by name, and the two folders of the warm runs."""

    def new():
        return mkdtemp(dir=folder)

    # One folder and one fitted extractor for each cold run, and one for the warm-up.
    cold = iter([extractor(network, new(), paths) for _ in range(repeats + 1)])
    # The uncounted first round of `alternate` fills the caches of the warm runs.
    without, kept, kept_maps = extractor(network, None, paths), new(), new()
    warm = extractor(network, kept, paths)
    sides = {
        "transform, no cache": lambda: without.transform(paths),
        "transform, cold": lambda: next(cold).transform(paths),
        "transform, warm": lambda: warm.transform(paths),
        "fit, unfreeze_depth=1, no cache": lambda: fit(network, None, paths, labels),
        "fit, unfreeze_depth=1, cold": lambda: fit(network, new(), paths, labels),
        "fit, unfreeze_depth=1, warm": lambda: fit(network, kept_maps, paths, labels),
    }
    return sides, kept, kept_maps


def main():
    options = parser(__doc__, pictures=976).parse_args()
    network = mobilenet(options.data)
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, options.pictures, Path(folder, "photos"))
        sides, kept, kept_maps = sides_of(network, folder, paths, labels, options.repeats)
        print_machine()
        seconds = alternate(sides, options.repeats)
        fresh = in_new_process(network, kept, paths)
        infos = {"transform": cache_info(kept), "fit": cache_info(kept_maps)}

    print_table(
        [f"{len(paths)} JPEG photos", "seconds", "against warm", "against no cache"],
        (
            [name, value, value / seconds[f"{what}, warm"], value / seconds[f"{what}, no cache"]]
            for name, value in seconds.items()
            for what in [name.rpartition(",")[0]]
        ),
    )
    print(f"Warm transform, the first of a new process (1 run): {fresh:.3g} s")
    for what in ("transform", "fit, unfreeze_depth=1"):
        more = seconds[f"{what}, cold"] - seconds[f"{what}, no cache"]
        each = 1000 * more / len(paths)
        print(f"{what}: a cold cache costs {each:.2f} ms per picture, compared with no cache")
    for what, info in infos.items():
        counts = f"{info.rows} activations of {info.pictures} pictures, {info.files} known files"
        print(f"cache_info after {what}: {counts}, {info.size / 1e6:.1f} MB")
    ratio = seconds["transform, cold"] / seconds["transform, warm"]
    judge("warm transform against cold", ratio, at_least=50)


if __name__ == "__main__":
    main()

"""Peak memory of a pass over few and over many pictures, given as paths.

Each run is a new process. Its peak is VmHWM of the Linux kernel. The difference between both
peaks may be the size of the features plus 50 MB.

Run with ``python -m benchmarks.memory``.
"""

import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._common import judge, mobilenet, parser, print_machine, print_table, write_photos
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier

MB = 1e6
N_FEATURES = 1280


def peak(task, parameters, paths, labels):
    """Run a task, and return the peak memory of this process in bytes."""
    if task == "transform":
        PretrainedFeatureExtractor(**parameters).fit(paths).transform(paths)
    else:
        PretrainedImageClassifier(**parameters, random_state=0).fit(paths, labels)
    # Not resource.getrusage: its ru_maxrss of a new process begins with that of the parent.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def in_new_process(*arguments):
    # Spawned, because a forked process would begin with the memory of this one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, *arguments).result()


def main():
    arguments = parser(__doc__, pictures=(1_000, 10_000))
    arguments.add_argument("--engine", default="auto")
    options = arguments.parse_args()
    parameters = {**mobilenet(options.data), "engine": options.engine, "device": "cpu"}
    few, many = options.pictures
    own = (many - few) * N_FEATURES * 4 / MB
    rows = []
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, many, Path(folder), size=(320, 240))
        for task in ("transform", "fit"):
            peaks = []
            for n in (few, many):
                runs = [
                    in_new_process(task, parameters, paths[:n], labels[:n])
                    for _ in range(options.repeats)
                ]
                # The worst run, because a limit on memory must hold for each of them.
                peaks.append(max(runs) / MB)
            rows.append([task, *peaks, own, peaks[1] - peaks[0] - own])

    print_machine()
    print_table(
        [
            f'peak in MB, engine="{options.engine}"',
            f"{few} pictures",
            f"{many} pictures",
            "difference of the features",
            "more than that",
        ],
        rows,
    )
    for task, *_, more in rows:
        judge(f"{task}: MB more than the features", more, at_most=50)


if __name__ == "__main__":
    main()

"""Growth of time with the number of pictures.

Run with ``python -m benchmarks.growth``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._common import (
    alternate,
    judge,
    mobilenet,
    parser,
    print_machine,
    print_table,
    write_photos,
)
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier


def main():
    arguments = parser(__doc__, pictures=(500, 5_000))
    arguments.add_argument("--engine", default="auto")
    options = arguments.parse_args()
    parameters = {**mobilenet(options.data), "engine": options.engine, "device": "cpu"}
    few, many = options.pictures
    classifier = PretrainedImageClassifier(**parameters, random_state=0)
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, many, Path(folder), size=(320, 240))
        extractor = PretrainedFeatureExtractor(**parameters).fit(paths)
        sides = {}
        for n in (few, many):
            sides["transform", n] = lambda n=n: extractor.transform(paths[:n])
            sides["fit, frozen backbone", n] = lambda n=n: classifier.fit(paths[:n], labels[:n])
        print_machine()
        seconds = alternate(sides, options.repeats)

    tasks = ("transform", "fit, frozen backbone")
    ratios = {task: seconds[task, many] / seconds[task, few] for task in tasks}
    print_table(
        [f'seconds, engine="{options.engine}"', f"{few} pictures", f"{many} pictures", "ratio"],
        ([task, seconds[task, few], seconds[task, many], ratios[task]] for task in tasks),
    )
    # Linear growth plus 5 %: at most 10.5 times the time for ten times the pictures.
    for task in tasks:
        judge(f"{task}: time, {many} against {few}", ratios[task], at_most=1.05 * many / few)


if __name__ == "__main__":
    main()

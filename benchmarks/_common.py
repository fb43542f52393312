"""Helpers of the benchmarks: arguments, data, timing and tables."""

import argparse
import importlib.metadata
import importlib.util
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import sklearn
import torch
import torchvision
from PIL import Image, JpegImagePlugin

import sktransfer
from sktransfer import PretrainedImageClassifier, load_image_folder
from sktransfer.estimators.labels import Labels
from sktransfer.estimators.settings import training_settings
from sktransfer.training.settings import TrainingSettings


def parser(description: str, pictures: int | tuple[int, ...] | None = None):
    """Make a parser with the arguments that all benchmarks share.

    `pictures` is the default number of pictures, or several of them for a benchmark that
    compares sizes.
    """
    arguments = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--data",
        type=Path,
        # Beside the repository, which does not contain the data.
        default=Path(__file__).resolve().parents[2] / "shared",
        help="folder with data/ants_bees, data/imagenet_samples and weights/",
    )
    arguments.add_argument("--repeats", type=int, default=3, help="timed runs of each side")
    if pictures is not None:
        several = len(pictures) if isinstance(pictures, tuple) else None
        arguments.add_argument(
            "--pictures", type=int, nargs=several, default=pictures, help="fewer for a quick look"
        )
    return arguments


def add_questions(parser: argparse.ArgumentParser, questions: Iterable[str]) -> None:
    """Let a command line name the questions that a benchmark answers; by default all."""
    known = list(questions)

    def one_of_them(name: str) -> str:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return name

    # Not `choices`, which some versions of Python compare with the whole default.
    parser.add_argument("questions", nargs="*", type=one_of_them, default=known)


def arguments(description: str) -> argparse.Namespace:
    """Parse the command line of a benchmark without arguments of its own."""
    return parser(description).parse_args()


def mobilenet(data: Path) -> dict[str, str | Path]:
    """Return parameters of an estimator for MobileNetV2 with its pretrained weights."""
    weights = data / "weights" / "mobilenet_v2_imagenet1k_features.safetensors"
    return {"backbone": "mobilenet_v2", "weights": weights}


def head_settings(n_classes: int, seed: int = 0, **parameters) -> TrainingSettings:
    """Return the settings by which a classifier with these parameters trains a head."""
    # The labels themselves matter only for the class weights of several labels per picture.
    labels = Labels(np.arange(n_classes), np.zeros(0, dtype=np.int64))
    classifier = PretrainedImageClassifier(**parameters)
    return training_settings(
        *(classifier, labels, np.ones(0)), device="cpu", precision="float32", seed=seed
    )


def ants_and_bees(data: Path, part: str) -> tuple:
    """Return paths and labels of the photos in PyTorch's transfer learning tutorial."""
    return load_image_folder(data / "data" / "ants_bees" / part, return_X_y=True)


def write_photos(
    data: Path, n: int, folder: Path, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Write `n` JPEG files into one subfolder per class, and return their paths and labels.

    The photos of ants and bees are repeated, optionally scaled to `size`.
    """
    photos, classes = ants_and_bees(data, "train")
    # Shuffled, so that even a small `n` has both classes.
    mixed = np.random.default_rng(0).permutation(len(photos))
    labels = np.resize(classes[mixed], n)
    paths = np.array([str(folder / label / f"{i:06}.jpg") for i, label in enumerate(labels)])
    for label in np.unique(classes):
        (folder / label).mkdir(parents=True)
    copies = -(-n // len(photos))
    for i, photo in enumerate(photos[mixed]):
        with Image.open(photo) as image:
            # The photo's own encoding, so that decoding a copy takes as long as the original.
            encoding = {
                "qtables": image.quantization,
                "subsampling": JpegImagePlugin.get_sampling(image),
            }
            pixels = image.convert("RGB") if size is None else image.convert("RGB").resize(size)
        for copy, path in enumerate(paths[i :: len(photos)]):
            # Copies differ in the grey of a corner: a cache by content must not profit from them.
            pixels.paste((255 * copy // copies,) * 3, (0, 0, 16, 16))
            pixels.save(path, "JPEG", **encoding)
    return paths, labels


def print_machine() -> None:
    """Print versions and machine, which the results depend on.

    Call it after the peers have been imported, whose versions are only printed then.
    """
    versions = [
        f"sktransfer {sktransfer.__version__}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, scikit-learn {sklearn.__version__}"
    ]
    # OpenVINO is not imported before it is used, but engine="auto" depends on it.
    if importlib.util.find_spec("openvino"):
        versions.append(f"openvino {importlib.metadata.version('openvino')}")
    versions += [
        f"{name} {sys.modules[name].__version__}"
        for name in ("keras", "tensorflow", "skorch")
        if name in sys.modules
    ]
    print(
        f"{', '.join(versions)}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}\n"
    )


def clock(run: Callable[[], object]) -> float:
    """Return the seconds that one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternate(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each side.

    The sides run in turn, so that a slow period of the machine affects all of them. The first
    round is a warm-up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, run in sides.items():
            value = clock(run)
            if turn:
                seconds[name].append(value)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table, with floats rounded to three significant digits."""
    header = list(header)
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(map(_cell, row))} |")
    print(flush=True)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def judge(
    question: str,
    value: float | None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Print if a target is reached; `value` is None if a peer is not installed."""
    wanted = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    if value is None:
        print(f"- {question}: not measured ({wanted})")
        return
    reached = value >= at_least if at_least is not None else value <= at_most
    print(f"- {question}: {value:z.4g} ({wanted}): {'reached' if reached else 'not reached'}")

"""What the benchmarks share: arguments, data, a clock, the machine in words, tables."""

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
from sktransfer.estimators.settings import training_settings
from sktransfer.training.batches import Rows
from sktransfer.training.losses import as_loss
from sktransfer.training.settings import TrainingSettings


def parser(description: str, pictures: int | tuple[int, ...] | None = None):
    """Arguments of every benchmark; with `pictures`, how many by default, one size or several."""
    arguments = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--data",
        type=Path,
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


def arguments(description: str) -> argparse.Namespace:
    """Parse the command line: where the data are."""
    return parser(description).parse_args()


def mobilenet(data: Path) -> dict[str, str | Path]:
    """Parameters of an estimator with real MobileNetV2 weights."""
    weights = data / "weights" / "mobilenet_v2_imagenet1k_features.safetensors"
    return {"backbone": "mobilenet_v2", "weights": weights}


def head_settings(rows: Rows, n_classes: int, seed: int = 0, **parameters) -> TrainingSettings:
    """Settings by which a classifier with these parameters trains a head on features."""
    classifier = PretrainedImageClassifier(**parameters)
    return training_settings(
        classifier,
        rows,
        task=as_loss(classifier.loss).task(multilabel=False),
        n_classes=n_classes,
        device="cpu",
        precision="float32",
        seed=seed,
    )


def ants_and_bees(data: Path, part: str) -> tuple:
    """Paths and labels of the PyTorch tutorial's photos."""
    return load_image_folder(data / "data" / "ants_bees" / part, return_X_y=True)


def write_photos(
    data: Path, n: int, folder: Path, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Write `n` JPEG files of distinct contents, one subfolder a class; their paths and labels.

    They are the ants and bees over and over. A corner in a grey of its own tells each copy
    of a photo from the others, so that nothing that remembers contents gains from them.
    Each is encoded as its photo was, so that decoding costs what it did; with `size`, it is
    made smaller first.
    """
    photos, classes = ants_and_bees(data, "train")
    mixed = np.random.default_rng(0).permutation(len(photos))  # so that few hold both classes
    labels = np.resize(classes[mixed], n)
    paths = np.array([str(folder / label / f"{i:06}.jpg") for i, label in enumerate(labels)])
    for label in np.unique(classes):
        (folder / label).mkdir(parents=True)
    copies = -(-n // len(photos))
    for i, photo in enumerate(photos[mixed]):
        with Image.open(photo) as image:
            encoding = {
                "qtables": image.quantization,
                "subsampling": JpegImagePlugin.get_sampling(image),
            }
            pixels = image.convert("RGB") if size is None else image.convert("RGB").resize(size)
        for copy, path in enumerate(paths[i :: len(photos)]):
            pixels.paste((255 * copy // copies,) * 3, (0, 0, 16, 16))
            pixels.save(path, "JPEG", **encoding)
    return paths, labels


def print_machine() -> None:
    """Print what the figures depend on; call it when the peers are imported."""
    versions = [
        f"sktransfer {sktransfer.__version__}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, scikit-learn {sklearn.__version__}"
    ]
    if importlib.util.find_spec("openvino"):  # what engine="auto" looks for
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
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternate(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each side, run in turn so that a slow minute hits both.

    The first round warms up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, run in sides.items():
            value = clock(run)
            if turn:
                seconds[name].append(value)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print one markdown table; floats with three significant digits."""
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
    """Print whether a target is reached; None is a peer that is not installed."""
    wanted = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    if value is None:
        print(f"- {question}: not measured ({wanted})")
        return
    reached = value >= at_least if at_least is not None else value <= at_most
    print(f"- {question}: {value:z.4g} ({wanted}): {'reached' if reached else 'not reached'}")

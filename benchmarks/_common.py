"""What the benchmarks share: arguments, data, a clock, the machine in words."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import sklearn
import torch
import torchvision

import sktransfer
from sktransfer import load_image_folder


def arguments(description: str) -> argparse.Namespace:
    """Parse the command line: where the data are."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(__file__).resolve().parents[2] / "shared",
        help="folder with data/ants_bees, data/imagenet_samples and weights/",
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each side")
    return parser.parse_args()


def mobilenet(data: Path) -> dict[str, str | Path]:
    """Parameters of an estimator with real MobileNetV2 weights."""
    weights = data / "weights" / "mobilenet_v2_imagenet1k_features.safetensors"
    return {"backbone": "mobilenet_v2", "weights": weights}


def ants_and_bees(data: Path, part: str) -> tuple:
    """Paths and labels of the PyTorch tutorial's photos."""
    return load_image_folder(data / "data" / "ants_bees" / part, return_X_y=True)


def print_machine() -> None:
    """Print what the figures depend on."""
    print(
        f"sktransfer {sktransfer.__version__}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, scikit-learn {sklearn.__version__}, Python "
        f"{platform.python_version()}, {torch.get_num_threads()} threads, {platform.machine()}\n"
    )


def alternate(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each side, run in turn so that a slow minute hits both.

    The first round warms up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}

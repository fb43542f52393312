"""How far exported graphs are from the estimators, and how long they take.

Run with ``python -m benchmarks.export``, optionally with names of questions; it takes about half an
hour on two cores.

``pictures``: classifiers of ants and bees, with pretrained weights, for both interpolations and
all three ways to make a square. Their graphs run in onnxruntime on 200 photos of many sizes: from
pixels, and from the prepared square. The column of the plain resize has the gap of the same network
where torch's antialiased resize, which is that of ONNX, makes the square: it is why graphs do not
use it. ``formats``: the same photos, and all formats. ``networks``: the smallest network of
each family of torchvision, and six of timm, with random weights, on 16 of the photos.

Where labels differ, the table counts those whose two largest probabilities are closer than 0.002
apart from the others.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks._common import (
    add_questions,
    ants_and_bees,
    mobilenet,
    parser,
    print_machine,
    print_table,
)
from sktransfer import PretrainedImageClassifier, export
from sktransfer._common.threads import one_thread
from sktransfer.images.sources import as_images
from sktransfer.persistence.graphs.export import FORMATS
from sktransfer.persistence.graphs.network import network_of
from sktransfer.persistence.graphs.verification import margins

NETWORKS = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("efficientnet_lite0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5"),
    *("mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11"),
    *("vit_b_32", "wide_resnet50_2"),
    *("timm/vit_tiny_patch16_224", "timm/convnextv2_atto", "timm/ghostnet_100"),
    *("timm/mobilevit_xxs", "timm/efficientvit_b0", "timm/resnet10t"),
)
Run = Callable[[np.ndarray], list[np.ndarray]]


def main() -> None:
    arguments = parser(__doc__, pictures=200)
    add_questions(arguments, QUESTIONS)
    options = arguments.parse_args()
    print_machine()
    for question in options.questions:
        QUESTIONS[question](options)


def photos(data: Path, n: int) -> list[np.ndarray]:
    """Return the pixels of photos of many sizes: ants, bees, and one of many classes each."""
    paths = [
        *ants_and_bees(data, "val")[0][::2],
        *sorted((data / "data/imagenet_samples").glob("*.*")),
    ]
    step = max(1, len(paths) // n)
    source = as_images([str(path) for path in paths[::step][:n]])
    return [np.asarray(source.read(row)) for row in range(len(source))]


def graph(
    classifier: PretrainedImageClassifier, folder: Path, given: str, suffix: str = ".onnx"
) -> Run:
    path = folder / f"{given}{suffix}"
    export(classifier, path, input=given)
    return FORMATS[suffix].runner(path)


def gaps(run: Run, inputs: list[np.ndarray], proba: np.ndarray) -> tuple[float, str, float]:
    """Return the largest gap in probability, how many labels differ, and ms for a picture."""
    start = time.perf_counter()
    outputs = [run(each[None]) for each in inputs]
    milliseconds = 1000 * (time.perf_counter() - start) / len(inputs)
    got = np.concatenate([each[0] for each in outputs])
    labels = np.concatenate([each[1] for each in outputs])
    gap = float(np.abs(got - proba).max())
    differs = labels != proba.argmax(1)
    tied = differs & (margins(proba, labels) <= 2e-3)
    return gap, f"{differs.sum() - tied.sum()} (+ {tied.sum()} ties)", milliseconds


def plain_resize_gap(
    classifier: PretrainedImageClassifier, pictures: list[np.ndarray], proba: np.ndarray
) -> float:
    """Return the gap where torch's antialiased resize makes the square, of "squash"."""
    model = classifier._model
    preset, network = model.backbone.preprocessing, network_of(model, "prepared").module
    largest = 0.0
    for picture, expected in zip(pictures, proba, strict=True):
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
        side = (preset.crop_size, preset.crop_size)
        small = torch.nn.functional.interpolate(
            pixels, side, mode=preset.interpolation, antialias=True
        )
        square = small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        with torch.no_grad():
            got = network(square)[0].numpy()[0]
        largest = max(largest, float(np.abs(got - expected).max()))
    return largest


def fitted(data: Path, resize: str, backbone: dict[str, object]) -> PretrainedImageClassifier:
    X, y = ants_and_bees(data, "train")
    return PretrainedImageClassifier(**backbone, resize=resize, random_state=0).fit(X[::6], y[::6])


def about_pictures(options) -> None:
    pictures = photos(options.data, options.pictures)
    sizes = [picture.shape[:2] for picture in pictures]
    print(f"{len(pictures)} photos of {len(set(sizes))} sizes, {min(sizes)} to {max(sizes)}\n")
    rows = []
    for backbone in (mobilenet(options.data), {"backbone": "efficientnet_lite0"}):
        for resize in ("crop", "squash", "pad"):
            classifier = fitted(options.data, resize, backbone)
            rows.append(row_of(classifier, pictures, resize))
            print(rows[-1], flush=True)
    print_table(
        [
            *("interpolation", "resize", "gap from pixels", "labels that differ"),
            *(
                "gap from the square",
                "labels that differ",
                "ms per picture",
                "gap of the plain resize",
            ),
        ],
        rows,
    )


def row_of(classifier, pictures, resize) -> list[object]:
    proba = classifier.predict_proba(pictures)
    preset = classifier._model.backbone.preprocessing
    squares = [preset(picture) for picture in pictures]
    with TemporaryDirectory() as folder, one_thread():
        whole = gaps(graph(classifier, Path(folder), "pictures"), pictures, proba)
        prepared = gaps(graph(classifier, Path(folder), "prepared"), squares, proba)
    plain = plain_resize_gap(classifier, pictures, proba) if resize == "squash" else "-"
    return [preset.interpolation, resize, *whole[:2], *prepared[:2], whole[2], plain]


def about_formats(options) -> None:
    pictures = photos(options.data, options.pictures)
    rows = []
    for backbone in (mobilenet(options.data), {"backbone": "efficientnet_lite0"}):
        classifier = fitted(options.data, "crop", backbone)
        proba = classifier.predict_proba(pictures)
        preset = classifier._model.backbone.preprocessing
        squares = [preset(picture) for picture in pictures]
        for suffix in (".onnx", ".pt2"):  # those that take pictures
            with TemporaryDirectory() as folder, one_thread():
                whole = gaps(graph(classifier, Path(folder), "pictures", suffix), pictures, proba)
                prepared = gaps(graph(classifier, Path(folder), "prepared", suffix), squares, proba)
            rows.append([suffix, preset.interpolation, *whole, *prepared])
            print(rows[-1], flush=True)
    print_table(
        [
            *("format", "interpolation", "gap from pixels", "labels that differ", "ms per picture"),
            *("gap from the square", "labels that differ", "ms per picture"),
        ],
        rows,
    )


def about_networks(options) -> None:
    pictures = photos(options.data, 16)
    y = np.arange(16) % 2
    rows = []
    for name in NETWORKS:
        classifier = PretrainedImageClassifier(name, weights=None, random_state=0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # random features may take L-BFGS long
                classifier.fit(pictures, y)
            row = row_of(classifier, pictures, "crop")
            rows.append([name, *row[2:6]])
        except Exception as error:  # the table says which networks can't be exported
            rows.append([name, f"{type(error).__name__}: {error}"[:160], "", "", ""])
        print(rows[-1], flush=True)
    print_table(
        [
            "network",
            "gap from pixels",
            "labels that differ",
            "gap from the square",
            "labels that differ",
        ],
        rows,
    )


QUESTIONS = {"pictures": about_pictures, "formats": about_formats, "networks": about_networks}

if __name__ == "__main__":
    main()

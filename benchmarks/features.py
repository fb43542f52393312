"""Features from JPEG files: sktransfer's engines, a DataLoader loop, Keras, and a limit.

The limit is the time of decoding alone plus the time of the network alone. Both use all cores, so
a pass can hardly be faster. Keras resizes without antialiasing, which is its default and less
work.

Run with ``python -m benchmarks.features``, and with ``--resnet --pictures 244`` for ResNet50. The
weights of ResNet50 and of Keras' networks are random: speed does not depend on their values.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

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
from benchmarks._peers import Photos, fastest, keras_passes, loops
from sktransfer import PretrainedFeatureExtractor
from sktransfer._common.threads import reading_threads
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import as_images

AUTO, BFLOAT16 = 'engine="auto"', 'precision="bfloat16"'
OPTIONS = {
    AUTO: {},
    BFLOAT16: {"precision": "bfloat16"},
    'engine="openvino"': {"engine": "openvino"},
    'engine="torch"': {"engine": "torch"},
}
READER = "sktransfer.activations.streaming.read_batches"


def read(extractor, paths):
    """Yield the batches of pixels that `transform` passes to the network."""
    rows, size = list(range(len(paths))), extractor.batch_size
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    with reading_threads(extractor.n_jobs) as n_threads:
        yield from read_batches(
            as_images(paths), extractor._fitted.backbone.preprocessing, batches, n_threads=n_threads
        )


def forward_only(extractor, paths, batches):
    """Run `transform` on pictures that are decoded already; includes some ms of overhead."""

    def again(_source, _preprocessing, asked, **_options):
        return (batch for _, batch in zip(asked, batches, strict=True))

    with patch(READER, again):
        return extractor.transform(paths)


def decode_only(extractor, paths):
    for _ in read(extractor, paths):
        pass


def sides_of(network, folder, paths):
    """Return the runs to measure, by name."""
    extractors = {
        name: PretrainedFeatureExtractor(**network, **options, device="cpu").fit(paths)
        for name, options in OPTIONS.items()
    }
    sides = {
        f"transform, {name}": lambda e=extractor: e.transform(paths)
        for name, extractor in extractors.items()
    }
    auto = extractors[AUTO]
    sides |= loops(network["backbone"], network["weights"], Photos(paths))
    sides |= keras_passes(network["backbone"], folder)
    batches = list(read(auto, paths))
    sides["decoding only"] = lambda: decode_only(auto, paths)
    for name in (AUTO, BFLOAT16):
        sides[f"network only, {name}"] = lambda e=extractors[name]: forward_only(e, paths, batches)
    return sides


def main():
    arguments = parser(__doc__, pictures=976)
    arguments.add_argument("--resnet", action="store_true", help="ResNet50 for MobileNetV2")
    options = arguments.parse_args()
    network = {"backbone": "resnet50", "weights": None}
    if not options.resnet:
        network = mobilenet(options.data)
    with TemporaryDirectory() as folder:
        paths, _ = write_photos(options.data, options.pictures, Path(folder))
        sides = sides_of(network, folder, paths)
        print_machine()
        # The first run in a process also converts the network; later ones reuse it.
        first = clock(sides['transform, engine="openvino"'])
        if not options.resnet:
            theirs = next(run for name, run in sides.items() if name.startswith("DataLoader"))()
            for name in OPTIONS:
                distance = np.abs(sides[f"transform, {name}"]() - theirs).max()
                print(f"Largest difference of a feature, {name}: {distance:.1e}")
        seconds = alternate(sides, options.repeats)

    auto, short = (seconds[f"transform, {name}"] for name in (AUTO, BFLOAT16))
    limits = {
        f"decoding + network, the limit, {name}": seconds["decoding only"]
        + seconds[f"network only, {name}"]
        for name in (AUTO, BFLOAT16)
    }
    # Not negative: where nothing is converted, the first run may happen to be the fastest.
    converting = max(0.0, first - seconds['transform, engine="openvino"'])
    print(f"\nConversion to OpenVINO, once per process, not in the table: {converting:.1f} s\n")
    print_table(
        [
            f"{network['backbone']}, {len(paths)} JPEG photos",
            "seconds",
            "pictures/s",
            "time against auto",
        ],
        (
            [name, value, len(paths) / value, value / auto]
            for name, value in {**seconds, **limits}.items()
        ),
    )
    if options.resnet:  # the targets are MobileNetV2's
        return
    # "(" excludes the tuned loop.
    theirs = fastest(seconds, "DataLoader loop (")
    judge("auto against the plain loop", theirs and theirs / auto, at_least=5)
    judge("bfloat16 against the plain loop", theirs and theirs / short, at_least=6)
    theirs = fastest(seconds, "Keras, predict")
    judge("auto against Keras, predict", theirs and theirs / auto, at_least=2)
    limit, limit_of_short = limits.values()
    judge("auto against the limit", limit / auto, at_least=0.95)
    judge("bfloat16 against the limit", limit_of_short / short, at_least=1)


if __name__ == "__main__":
    main()

"""Features from JPEG files: sktransfer's engines, a DataLoader loop, Keras, and the limit.

The limit is what decoding alone and the network alone would take one after the other:
both use all cores, so a pass can hardly take less. Keras resizes without antialiasing,
as it does by default, which is less work than the others do.

Run with ``python -m benchmarks.features``, and with ``--resnet --pictures 244`` for
ResNet50, whose weights are random, as are all of Keras': speed does not depend on values.
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

ENGINES = ("auto", "openvino", "torch")
READER = "sktransfer.activations.streaming.read_batches"


def read(extractor, paths):
    """The batches of pixels that `transform` computes on."""
    rows, size = list(range(len(paths))), extractor.batch_size
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    with reading_threads(extractor.n_jobs) as n_threads:
        yield from read_batches(
            as_images(paths), extractor._preprocessing, batches, n_threads=n_threads
        )


def forward_only(extractor, paths, batches):
    """`transform` with pictures that were read before; its bookkeeping, some ms, is in it."""

    def again(_source, _preprocessing, asked, **_options):
        return (batch for _, batch in zip(asked, batches, strict=True))

    with patch(READER, again):
        return extractor.transform(paths)


def decode_only(extractor, paths):
    for _ in read(extractor, paths):
        pass


def sides_of(network, folder, paths):
    """What is measured, by name."""
    extractors = {
        engine: PretrainedFeatureExtractor(**network, engine=engine, device="cpu").fit(paths)
        for engine in ENGINES
    }
    sides = {
        f'transform, engine="{engine}"': lambda e=extractor: e.transform(paths)
        for engine, extractor in extractors.items()
    }
    auto = extractors["auto"]
    sides |= loops(network["backbone"], network["weights"], Photos(paths))
    sides |= keras_passes(network["backbone"], folder)
    batches = list(read(auto, paths))
    sides["decoding only"] = lambda: decode_only(auto, paths)
    sides['network only, engine="auto"'] = lambda: forward_only(auto, paths, batches)
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
        first = clock(sides['transform, engine="openvino"'])
        if not options.resnet:
            theirs = next(run for name, run in sides.items() if name.startswith("DataLoader"))()
            for engine in ENGINES:
                ours = sides[f'transform, engine="{engine}"']()
                distance = np.abs(ours - theirs).max()
                print(f'Largest difference of a feature, engine="{engine}": {distance:.1e}')
        seconds = alternate(sides, options.repeats)

    auto = seconds['transform, engine="auto"']
    limit = seconds["decoding only"] + seconds['network only, engine="auto"']
    converting = max(0.0, first - seconds['transform, engine="openvino"'])
    print(f"\nConversion to OpenVINO, once a process, not in the table: {converting:.1f} s\n")
    print_table(
        [
            f"{network['backbone']}, {len(paths)} JPEG photos",
            "seconds",
            "pictures/s",
            "time against auto",
        ],
        (
            [name, value, len(paths) / value, value / auto]
            for name, value in {**seconds, "decoding + network, the limit": limit}.items()
        ),
    )
    if options.resnet:  # the targets are MobileNetV2's
        return
    theirs = fastest(seconds, "DataLoader loop (")
    judge("auto against the plain loop", theirs and theirs / auto, at_least=5)
    theirs = fastest(seconds, "Keras, predict")
    judge("auto against Keras, predict", theirs and theirs / auto, at_least=2)
    judge("auto against the limit", limit / auto, at_least=0.95)


if __name__ == "__main__":
    main()

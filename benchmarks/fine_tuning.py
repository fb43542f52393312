"""Ten epochs of fine-tuning the last one or two stages: sktransfer, plain skorch, Keras.

All of them train the same blocks, with fixed BatchNorm statistics. All epochs of a peer take the
same time, so one is measured and multiplied by ten, as in `benchmarks.head`. sktransfer's time
includes solving the head first, which the peers do not do.

Run with ``python -m benchmarks.fine_tuning``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._common import (
    alternate,
    clock,
    mobilenet,
    parser,
    print_machine,
    print_table,
    write_photos,
)
from benchmarks._peers import Photos, keras_epochs, skorch_epochs, ten_epochs
from sktransfer import PretrainedImageClassifier


def measure(depth, network, folder, paths, labels, repeats):
    """Return rows of the table for one depth, and the additional seconds of the first fit."""
    classifier = PretrainedImageClassifier(
        **network,
        unfreeze_depth=depth,
        max_epochs=10,
        engine="auto",
        device="cpu",
        random_state=0,
    )
    fit = f"fit, unfreeze_depth={depth}"
    sides = {
        fit: lambda: classifier.fit(paths, labels),
        **skorch_epochs(network["weights"], depth, Photos(paths, labels)),
        **keras_epochs(folder, depth, 2),
    }
    # The first run in a process also converts the network for OpenVINO; later ones reuse it.
    first = clock(sides[fit])
    seconds = alternate(sides, repeats)
    rows = {fit: seconds[fit], **ten_epochs(seconds)}
    return [[name, value, value / seconds[fit]] for name, value in rows.items()], first - seconds[
        fit
    ]


def main():
    options = parser(__doc__, pictures=244).parse_args()
    network = mobilenet(options.data)
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, options.pictures, Path(folder))
        for depth in (1, 2):
            rows, more = measure(depth, network, folder, paths, labels, options.repeats)
            if depth == 1:
                print_machine()
            print(f"The first fit took {max(0.0, more):.1f} s more: conversion, if any.\n")
            print_table(
                [f"{len(paths)} JPEG photos, 10 epochs", "seconds", "time against fit"], rows
            )


if __name__ == "__main__":
    main()

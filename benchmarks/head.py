"""Fit of a linear head in ten epochs: sktransfer, skorch, Keras, and one feature pass.

All epochs of a peer take the same time, so one is measured and multiplied by ten. skorch decodes
the pictures in each epoch, or uses tensors that were decoded before, without counting that. Keras
decodes once and caches the pictures, as in its guide to transfer learning.

Run with ``python -m benchmarks.head``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

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
from benchmarks._peers import Photos, fastest, keras_epochs, skorch_epochs, ten_epochs
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier

FIT, PASS = "fit, max_epochs=10", "transform of the same pictures"


def main():
    options = parser(__doc__, pictures=976).parse_args()
    network = mobilenet(options.data)
    classifier = PretrainedImageClassifier(
        **network, max_epochs=10, engine="auto", device="cpu", random_state=0
    )
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, options.pictures, Path(folder))
        extractor = PretrainedFeatureExtractor(**network, engine="auto", device="cpu").fit(paths)
        sides = {
            FIT: lambda: classifier.fit(paths, labels),
            PASS: lambda: extractor.transform(paths),
            **skorch_epochs(network["weights"], 0, Photos(paths, labels)),
            **keras_epochs(folder, 0, 2),
        }
        print_machine()
        # The first run in a process also converts the network for OpenVINO; later ones reuse it.
        first = clock(sides[FIT])
        seconds = alternate(sides, options.repeats)

    fit = seconds[FIT]
    print(f"The first fit took {max(0.0, first - fit):.1f} s more: conversion, if any.\n")
    totals = ten_epochs(seconds)
    print_table(
        [f"{len(paths)} JPEG photos, 10 epochs", "seconds", "time against fit"],
        (
            [name, value, value / fit]
            for name, value in {FIT: fit, PASS: seconds[PASS], **totals}.items()
        ),
    )
    for peer, target in {
        "plain skorch from files": 30,
        "plain skorch from tensors": 30,
        "Keras": 10,
    }.items():
        theirs = fastest(totals, peer)
        judge(f"fit against {peer}", theirs and theirs / fit, at_least=target)
    judge("fit against one feature pass", fit / seconds[PASS], at_most=1.15)


if __name__ == "__main__":
    main()
